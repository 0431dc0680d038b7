"""Class-imbalanced semantic segmentation for MMSegmentation: importing it registers everything.

Without MMSegmentation there is ``mmseg_balance.functional``, the mathematics on torch and NumPy.
"""

from importlib.util import find_spec

__version__ = '0.1.0'


def _mmsegmentation_is_installed() -> bool:
    try:
        return find_spec('mmseg') is not None
    except ModuleNotFoundError:
        return False


if _mmsegmentation_is_installed():
    from mmseg_balance import compat  # noqa: F401, I001  first: it makes mmseg importable
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
