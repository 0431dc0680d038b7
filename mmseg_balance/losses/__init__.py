"""Losses as decode heads call them, registered in MMSegmentation's MODELS."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.losses.blv import BalancedVariationLoss
from mmseg_balance.losses.centerline import CenterlineDiceLoss
from mmseg_balance.losses.lovasz import LovaszSoftmaxLoss
from mmseg_balance.losses.max_pooling import LMPLoss, OHEMCrossEntropyLoss
from mmseg_balance.losses.overlap import (
    GeneralizedDiceLoss,
    SoftDiceLoss,
    SoftIoULoss,
    SoftTverskyLoss,
)
from mmseg_balance.losses.paired import PairedLoss
from mmseg_balance.losses.pixel import SoftmaxFocalLoss, WeightedCrossEntropyLoss
from mmseg_balance.losses.priors import LDAMLoss, LogitAdjustedLoss
from mmseg_balance.losses.recall import RecallLoss
from mmseg_balance.losses.region_size import RegionSizeLoss
from mmseg_balance.losses.seesaw import SoftmaxSeesawLoss

__all__ = [
    'BalancedVariationLoss',
    'CenterlineDiceLoss',
    'GeneralizedDiceLoss',
    'LDAMLoss',
    'LMPLoss',
    'LogitAdjustedLoss',
    'LovaszSoftmaxLoss',
    'OHEMCrossEntropyLoss',
    'PairedLoss',
    'RecallLoss',
    'RegionSizeLoss',
    'SoftDiceLoss',
    'SoftIoULoss',
    'SoftTverskyLoss',
    'SoftmaxFocalLoss',
    'SoftmaxSeesawLoss',
    'WeightedCrossEntropyLoss',
]
