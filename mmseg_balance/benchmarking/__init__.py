"""What ``mmseg-balance benchmark`` measures, a file for each of its subcommands."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)
