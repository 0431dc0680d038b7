"""What keeps a run alive: safe checkpoints, atomic files, resume, input checks, CPU launch."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)
