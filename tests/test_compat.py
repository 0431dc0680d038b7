"""What the package does about other packages' versions."""

import os
import subprocess
import sys

import pytest
from mmengine.config import utils as config_utils
from mmengine.runner import CheckpointLoader
from mmengine.utils.dl_utils import mmcv_full_available

from mmseg_balance import compat


def run_python(code: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=120, **kwargs
    )


def test_models_import_and_the_missing_ops_are_not_hidden():
    import mmseg.models  # noqa: F401

    assert mmcv_full_available() is compat.is_importable('mmcv._ext')


@pytest.mark.skipif(compat.is_importable('mmcv._ext'), reason='full mmcv is installed')
def test_a_compiled_op_says_what_to_install_when_it_is_called():
    from mmcv.ops import CrissCrossAttention  # noqa: F401  importing an op's module is harmless
    from mmcv.utils.ext_loader import load_ext

    extension = load_ext('_ext', ['nms'])
    with pytest.raises(RuntimeError, match=r'nms is a compiled op.*mmcv==2\.1\.0') as error:
        extension.nms()
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(AttributeError):
        _ = extension.never_asked_for


def test_full_mmcv_is_never_touched(monkeypatch):
    from mmcv.utils import ext_loader

    original = ext_loader.load_ext
    monkeypatch.setattr(compat, 'is_importable', lambda module: True)
    compat.import_without_compiled_ops()
    assert ext_loader.load_ext is original


@pytest.mark.parametrize(
    ('missing', 'remedy'),
    [
        ('mmcv', 'mmcv-lite==2.1.0'),
        ('mmseg', 'it needs MMSegmentation, and mmseg cannot'),
        ('pkg_resources', 'setuptools<81'),
    ],
)
def test_a_missing_requirement_is_named_with_its_remedy(monkeypatch, missing, remedy):
    monkeypatch.setattr(compat, 'is_importable', lambda module: module != missing)
    with pytest.raises(ImportError, match=remedy):
        compat.require_mmsegmentation('it')


# What apply() changes, as one expression that is True once it is changed.
CHANGES = {
    'the warning': "any(f[1] and 'pkg_resources' in f[1].pattern for f in warnings.filters)",
    'base configs': "'mmseg_balance' in mmengine.config.utils.MODULE2PACKAGE",
    'checkpoints': "hasattr(CheckpointLoader.load_checkpoint, 'loads_safely')",
}
LOOK = (
    'import warnings, mmengine.config, mmengine.registry\n'
    'from mmengine.runner import CheckpointLoader\n'
    'import mmseg_balance\n'
    f'print({", ".join(CHANGES.values())})'
)


@pytest.mark.parametrize(('switch', 'changed'), [('on', True), ('off', False)])
def test_all_changes_are_made_by_one_switch(switch, changed):
    variables = {**os.environ, 'MMSEG_BALANCE_COMPAT': switch}
    result = run_python(LOOK, env=variables)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-len(CHANGES) :] == [str(changed)] * len(CHANGES)


@pytest.mark.skipif(compat.is_importable('mmcv._ext'), reason='full mmcv is installed')
def test_without_the_changes_mmcv_lite_is_not_enough():
    variables = {**os.environ, 'MMSEG_BALANCE_COMPAT': 'off'}
    result = run_python('import mmseg_balance.losses', env=variables)
    assert 'MMSEG_BALANCE_COMPAT=off and mmcv-lite do not go together' in result.stderr


def test_the_switch_has_two_positions():
    variables = {**os.environ, 'MMSEG_BALANCE_COMPAT': 'no'}
    result = run_python('import mmseg_balance', env=variables)
    assert 'MMSEG_BALANCE_COMPAT=no: the environment variable takes on or off' in result.stderr


@pytest.mark.parametrize(
    ('installed', 'expected'),
    [
        (('mmsegmentation',), 'mmsegmentation'),
        (('onedl-mmsegmentation',), 'onedl-mmsegmentation'),
        (('mmsegmentation', 'onedl-mmsegmentation'), 'mmsegmentation'),
    ],
)
def test_base_configs_are_looked_up_in_the_fork_that_is_there(monkeypatch, installed, expected):
    monkeypatch.setattr(compat, 'has_distribution', lambda name: name in installed)
    monkeypatch.setitem(config_utils.MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    compat.find_forked_configs()
    assert config_utils.MODULE2PACKAGE['mmseg'] == expected


def test_distributions_are_found_by_their_own_name():
    assert compat.has_distribution('mmengine') or compat.has_distribution('onedl-mmengine')
    assert not compat.has_distribution('no-such-distribution')


def test_a_newer_mmcv_is_accepted_and_its_number_left_alone():
    """In a process of its own: mmseg looks at the number when it is first imported."""
    result = run_python(
        'import mmcv; mmcv.__version__ = "2.2.0"\nimport mmseg_balance, mmseg.models; print(mmcv.__version__)'
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == '2.2.0'


def test_guarding_twice_is_once(monkeypatch):
    before = CheckpointLoader.__dict__['load_checkpoint']
    compat.load_checkpoints_safely()
    assert CheckpointLoader.__dict__['load_checkpoint'] is before
