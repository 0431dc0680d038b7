"""The one place that knows other packages' versions, and the only one that changes them.

:func:`apply` makes ``mmseg.models`` importable and checkpoints loadable with every combination in
README's table. Each function handles one fact about one package and does nothing elsewhere;
``docs/reliability.md`` lists them. ``MMSEG_BALANCE_COMPAT=off`` switches all of them off.
"""

import importlib.util
import os
import warnings
from functools import cache
from importlib import metadata

SWITCH = 'MMSEG_BALANCE_COMPAT'
NO_MMCV = (
    'mmseg_balance needs mmcv: install mmcv-lite==2.1.0 (no compiler needed; enough for every '
    'model without compiled ops) or the full mmcv 2.1.0, one of the two and never both'
)
NO_PKG_RESOURCES = "mmengine needs pkg_resources, which newer setuptools no longer has: run pip install 'setuptools<81'"
NO_OPS = (
    f'{SWITCH}=off and mmcv-lite do not go together: MMSegmentation imports the compiled ops of '
    'full mmcv; unset the variable, or install mmcv==2.1.0 in place of mmcv-lite'
)
NO_MMSEGMENTATION = (
    '{user} needs MMSegmentation, and {missing} cannot be imported: run '
    "pip install 'mmseg_balance[lite]' (with mmcv-lite), or pip install 'mmseg_balance[mmseg]' "
    'beside a full mmcv 2.1.0. mmseg_balance.functional works with PyTorch and NumPy alone'
)


class MissingPackageError(ImportError):
    """A package that MMSegmentation needs is not installed; says which and how to install it."""


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


def is_switched_on() -> bool:
    """Whether other packages may be changed.

    Raises:
        ValueError: the environment variable ``MMSEG_BALANCE_COMPAT`` is neither on nor off.
    """
    switch = os.environ.get(SWITCH, 'on')
    if switch not in ('on', 'off'):
        raise ValueError(f'{SWITCH}={switch}: the environment variable takes on or off')
    return switch == 'on'


def missing_packages() -> list[str]:
    """The packages of MMSegmentation that cannot be imported."""
    needed = ['mmengine', 'mmcv', 'mmseg']
    if not is_switched_on():
        needed.append('mmcv._ext')
    return [module for module in needed if not is_importable(module)]


def require_mmsegmentation(user: str) -> None:
    """Say in one sentence what to install, or make MMSegmentation ready to be imported.

    Args:
        user: Who needs it, as the sentence names it.

    Raises:
        MissingPackageError: MMSegmentation, mmengine, mmcv or ``pkg_resources`` is missing.
    """
    missing = missing_packages()
    if missing == ['mmcv._ext']:
        raise MissingPackageError(NO_OPS)
    if missing[:1] == ['mmcv']:
        raise MissingPackageError(NO_MMCV)
    if missing:
        raise MissingPackageError(
            NO_MMSEGMENTATION.format(user=user, missing=' and '.join(missing))
        )
    if not is_importable('pkg_resources'):
        raise MissingPackageError(NO_PKG_RESOURCES)
    apply()


def silence_pkg_resources() -> None:
    """Hide a warning about every look-up of a package, which the user can do nothing about."""
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


def find_own_configs() -> None:
    """Let ``mmseg_balance::…`` be a base of a config that is read after this import.

    MMEngine asks a distribution where it lies, and an editable install gives the wrong answer. A
    name that is no distribution's is looked up as a module, which is right everywhere.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE['mmseg_balance'] = 'mmseg_balance.compat'


@cache
def apply() -> None:
    """Make all the changes to other packages, once, unless they are switched off."""
    if not is_switched_on():
        return
    silence_pkg_resources()
    import_without_compiled_ops()
    accept_newer_mmcv()
    find_forked_configs()
    find_own_configs()
    load_checkpoints_safely()
