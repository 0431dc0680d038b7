"""Class-imbalanced semantic segmentation for MMSegmentation: importing it registers everything."""
from mmseg_balance import compat  # noqa: F401, I001  first: it makes mmseg importable
from mmseg_balance import (  # noqa: F401
    datasets,
    hooks,
    loops,
    losses,
    metrics,
    samplers,
    transforms,
    visualization,
)

__version__ = '0.1.0'
