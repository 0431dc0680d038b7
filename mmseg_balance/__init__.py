"""Class-imbalanced semantic segmentation for MMSegmentation.

Importing the package registers everything where MMSegmentation is installed. Where it is not,
``mmseg_balance.functional`` works with PyTorch and NumPy alone.
"""

from mmseg_balance import compat, startup

__version__ = '0.1.0'


def register_all() -> None:
    """Register losses, hooks, samplers, … in MMSegmentation's registries; twice is once.

    Raises:
        ImportError: MMSegmentation is not installed.
    """
    compat.require_mmsegmentation('mmseg_balance')
    from mmseg_balance import (  # noqa: F401
        backbones,
        datasets,
        hooks,
        losses,
        metrics,
        samplers,
        segmentors,
        transforms,
        visualization,
    )
    from mmseg_balance.runtime import cpu, fast_resume_train_loop  # noqa: F401


if not startup.is_command_line() and not compat.missing_packages():
    register_all()
