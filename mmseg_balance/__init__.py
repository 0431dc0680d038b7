"""Class-imbalanced semantic segmentation for MMSegmentation: importing it registers everything."""

from mmseg_balance import compat  # noqa: F401, I001  first: it makes mmseg importable
from mmseg_balance import (  # noqa: F401
    backbones,
    datasets,
    hooks,
    losses,
    metrics,
    samplers,
    transforms,
    visualization,
)
from mmseg_balance.runtime import cpu, fast_resume_train_loop  # noqa: F401

__version__ = '0.1.0'
