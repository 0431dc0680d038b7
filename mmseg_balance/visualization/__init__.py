"""Figures, and the hook that draws during training."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.visualization.reliability_hook import ReliabilityDiagramHook

__all__ = ['ReliabilityDiagramHook']
