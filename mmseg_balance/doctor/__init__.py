"""``mmseg-balance doctor CONFIG``: what is wrong with a config and its labels."""

from mmseg_balance.doctor.command import add_arguments, main, run
from mmseg_balance.doctor.examination import Examination, examine, examine_config
from mmseg_balance.doctor.findings import Finding

__all__ = ['Examination', 'Finding', 'add_arguments', 'examine', 'examine_config', 'main', 'run']
