"""Which images, and which pixels, training looks at."""

from mmseg_balance import compat  # noqa: F401  says what to install
from mmseg_balance.samplers.balance_batch_sampler import BalanceBatchSampler
from mmseg_balance.samplers.class_performance_sampler import ClassPerformanceSampler, FocusedIndex
from mmseg_balance.samplers.confusion_pixel_sampler import ConfusionPixelSampler

__all__ = [
    'BalanceBatchSampler',
    'ClassPerformanceSampler',
    'ConfusionPixelSampler',
    'FocusedIndex',
]
