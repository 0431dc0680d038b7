"""Wrappers of segmentors for testing."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.segmentors.decision import DecisionSegmentor

__all__ = ['DecisionSegmentor']
