"""Class statistics of a training set: counted once, saved, used by everything."""

from mmseg_balance import compat  # noqa: F401  says what to install
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
    'name_of_run',
    'mix_after_loading',
    'statistics_for_transform',
    'statistics_path',
    'unwrap',
]
