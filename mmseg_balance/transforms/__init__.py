"""Transforms of the training pipeline."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.transforms.class_centered_crop import ClassCenteredCrop
from mmseg_balance.transforms.rare_class_paste import RareClassPaste

__all__ = ['ClassCenteredCrop', 'RareClassPaste']
