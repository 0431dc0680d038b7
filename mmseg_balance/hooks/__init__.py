"""Hooks: what happens around the iterations of a run."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from .class_performance import ClassPerformanceHook
from .finite_loss import FiniteLossHook
from .fused_loss import FusedLossHook
from .iteration_seed import IterationSeedHook
from .label_check import LabelCheckHook
from .loss_schedule import LossScheduleHook
from .mask_class_weight import MaskClassWeightHook
from .whole_checkpoint import WholeCheckpointHook

__all__ = [
    'ClassPerformanceHook',
    'FiniteLossHook',
    'FusedLossHook',
    'IterationSeedHook',
    'LabelCheckHook',
    'LossScheduleHook',
    'MaskClassWeightHook',
    'WholeCheckpointHook',
]
