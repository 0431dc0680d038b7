"""``mmseg-balance doctor CONFIG``: what is wrong with a config and its labels."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.doctor.command import run
from mmseg_balance.doctor.examination import Examination, examine, examine_config
from mmseg_balance.doctor.findings import Finding

__all__ = ['Examination', 'Finding', 'examine', 'examine_config', 'run']
