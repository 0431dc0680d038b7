"""Transforms of the training pipeline."""

from mmseg_balance.transforms.class_centered_crop import ClassCenteredCrop

__all__ = ['ClassCenteredCrop']
