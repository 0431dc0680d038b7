"""Backbones that a CPU can train, registered in MMSegmentation's MODELS."""

from mmseg_balance import compat  # noqa: F401  says what to install
from mmseg_balance.backbones.efficientnet_lite import EfficientNetLite

__all__ = ['EfficientNetLite']
