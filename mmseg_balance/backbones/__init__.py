"""Backbones that a CPU can train, registered in MMSegmentation's MODELS."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.backbones.efficientnet_lite import EfficientNetLite

__all__ = ['EfficientNetLite']
