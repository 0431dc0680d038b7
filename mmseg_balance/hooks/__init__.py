"""Hooks: what happens around the iterations of a run."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.hooks.class_performance import ClassPerformanceHook
from mmseg_balance.hooks.finite_loss import FiniteLossHook
from mmseg_balance.hooks.fused_loss import FusedLossHook
from mmseg_balance.hooks.iteration_seed import IterationSeedHook
from mmseg_balance.hooks.label_check import LabelCheckHook
from mmseg_balance.hooks.loss_schedule import LossScheduleHook
from mmseg_balance.hooks.mask_class_weight import MaskClassWeightHook
from mmseg_balance.hooks.whole_checkpoint import WholeCheckpointHook

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
