"""The one place that knows other packages' versions.

Importing it makes ``mmseg.models`` importable and checkpoints loadable with every combination in
README's table. Each function handles one fact about one package and does nothing elsewhere.
"""

import importlib.util
import warnings
from importlib import metadata

NO_MMSEG = (
    'mmseg_balance (but for mmseg_balance.functional) needs MMSegmentation: pip install '
    "'mmsegmentation==1.2.2' 'mmengine' 'mmcv-lite==2.1.0' ftfy regex, as README says"
)
NO_MMCV = (
    'mmseg_balance needs mmcv: install mmcv-lite==2.1.0 (no compiler needed; enough for every '
    'model without compiled ops) or the full mmcv 2.1.0, one of the two and never both'
)
NO_PKG_RESOURCES = "mmengine needs pkg_resources, which newer setuptools no longer has: run pip install 'setuptools<81'"


def is_importable(module: str) -> bool:
    """Whether a module can be found, without importing it (its parents are imported)."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def has_distribution(name: str) -> bool:
    """Whether a distribution of exactly this name is installed."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def check_requirements() -> None:
    """Say what is missing before a stack of other packages' frames does.

    Raises:
        ImportError: mmseg, mmengine, mmcv or ``pkg_resources`` cannot be found.
    """
    if not is_importable('mmseg') or not is_importable('mmengine'):
        raise ImportError(NO_MMSEG)
    if not is_importable('mmcv'):
        raise ImportError(NO_MMCV)
    if not is_importable('pkg_resources'):
        raise ImportError(NO_PKG_RESOURCES)
    # mmengine imports it at every look-up of a package; the user can do nothing about it.
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')


class MissingOp:
    """Stands in for a compiled op of mmcv, and says what is missing only when it is called."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args, **kwargs):
        raise RuntimeError(
            f'{self.name} is a compiled op of full mmcv and mmcv-lite is installed: install '
            'mmcv==2.1.0 in place of mmcv-lite, or choose a model without compiled ops'
        )


class MissingExtension:
    """Stands in for ``mmcv._ext``: has the ops that were asked for, each a :class:`MissingOp`."""

    def __init__(self, ops) -> None:
        for op in ops:
            setattr(self, op, MissingOp(op))


def import_without_compiled_ops() -> None:
    """Let ``import mmseg.models`` succeed under mmcv-lite.

    It imports ``mmcv.ops``, which loads ``mmcv._ext`` at once. Only a machine without that module
    gets the stand-in, so full mmcv is never touched; and no module named ``mmcv._ext`` is made up,
    so ``mmcv_full_available()`` keeps telling the truth.
    """
    if not is_importable('mmcv._ext'):
        from mmcv.utils import ext_loader

        ext_loader.load_ext = lambda name, ops: MissingExtension(ops)


def accept_newer_mmcv() -> None:
    """Let MMSegmentation 1.2 import beside mmcv 2.2, which it refuses by number alone.

    mmcv 2.2 is the first with binary wheels for PyTorch 2.2 and later, and nothing that
    MMSegmentation uses changed. The check runs once, at import, so the number is shown smaller
    only for that long.
    """
    import mmcv

    version = mmcv.__version__
    if not version.startswith('2.2.'):
        return
    mmcv.__version__ = '2.1.0'
    try:
        import mmseg  # noqa: F401
    finally:
        mmcv.__version__ = version


def find_forked_configs() -> None:
    """Let ``mmseg::…`` base configs be found when the fork onedl-mmsegmentation is installed.

    MMEngine looks them up under the distribution's name, not the module's.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    if has_distribution('onedl-mmsegmentation') and not has_distribution('mmsegmentation'):
        MODULE2PACKAGE['mmseg'] = 'onedl-mmsegmentation'


def load_checkpoints_safely() -> None:
    """Load MMEngine's own checkpoints under PyTorch >= 2.6, and refuse harmful ones under all.

    mmengine 0.10 calls ``torch.load`` without ``weights_only``: PyTorch < 2.6 then unpickles
    anything, and PyTorch >= 2.6 refuses the checkpoints that MMEngine itself has written.
    """
    from mmseg_balance.runtime import checkpoints

    checkpoints.guard_mmengine()


check_requirements()
import_without_compiled_ops()
accept_newer_mmcv()
find_forked_configs()
load_checkpoints_safely()
