"""Figures, and the hook that draws during training."""

from mmseg_balance import compat  # noqa: F401  says what to install
from mmseg_balance.visualization.reliability_hook import ReliabilityDiagramHook

__all__ = ['ReliabilityDiagramHook']
