"""Transforms of the training pipeline."""

from mmseg_balance import compat  # noqa: F401  says what to install
from mmseg_balance.transforms.class_centered_crop import ClassCenteredCrop
from mmseg_balance.transforms.rare_class_paste import RareClassPaste

__all__ = ['ClassCenteredCrop', 'RareClassPaste']
