"""Which images, and which pixels, training looks at."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.samplers.balance_batch_sampler import BalanceBatchSampler
from mmseg_balance.samplers.class_performance_sampler import ClassPerformanceSampler
from mmseg_balance.samplers.confusion_pixel_sampler import ConfusionPixelSampler
from mmseg_balance.samplers.counted_sampler import CountedSampler
from mmseg_balance.samplers.focused_index import FocusedIndex
from mmseg_balance.samplers.rare_class_sampler import RareClassSampler
from mmseg_balance.samplers.repeat_factor_sampler import RepeatFactorSampler

__all__ = [
    'BalanceBatchSampler',
    'ClassPerformanceSampler',
    'ConfusionPixelSampler',
    'CountedSampler',
    'FocusedIndex',
    'RareClassSampler',
    'RepeatFactorSampler',
]
