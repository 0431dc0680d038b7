"""Metrics for MMEngine's evaluator."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.metrics.boundary import BoundaryMetric
from mmseg_balance.metrics.calibration import CalibrationMetric
from mmseg_balance.metrics.imbalance import ImbalanceMetric

__all__ = ['BoundaryMetric', 'CalibrationMetric', 'ImbalanceMetric']
