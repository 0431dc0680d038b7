"""Wrappers of segmentors for testing."""

from mmseg_balance.segmentors.decision import DecisionSegmentor

__all__ = ['DecisionSegmentor']
