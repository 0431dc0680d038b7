"""Class statistics of a training set: counted once, saved, used by everything."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.statistics.auto import (
    build_training_set,
    load_statistics,
    name_of_run,
    statistics_path,
)
from mmseg_balance.statistics.class_statistics import ClassStatistics
from mmseg_balance.statistics.in_worker import statistics_for_transform
from mmseg_balance.statistics.label_scan import LabelSource, unwrap
from mmseg_balance.statistics.mixed_config import mix_after_loading

__all__ = [
    'ClassStatistics',
    'LabelSource',
    'build_training_set',
    'load_statistics',
    'mix_after_loading',
    'name_of_run',
    'statistics_for_transform',
    'statistics_path',
    'unwrap',
]
