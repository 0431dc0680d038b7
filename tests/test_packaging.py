"""What is in a wheel, and that it is enough: installed, it trains in an empty folder."""

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement

import mmseg_balance

# A clone on PYTHONPATH would stand in for what is installed.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
ROOMS = Path(mmseg_balance.__file__).parent
FORBIDDEN_NAMES = {'utils', 'util', 'core', 'common', 'helpers', 'misc'}


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=ENVIRONMENT,
        **options,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope='module')
def distributions(repository, tmp_path_factory) -> Path:
    """A folder with the source distribution and the wheel that is built from it."""
    folder, source = tmp_path_factory.mktemp('dist'), tmp_path_factory.mktemp('source') / 'copy'
    left_out = shutil.ignore_patterns('.*venv*', '.git', 'data', 'work_dirs', 'site', '*.egg-info')
    shutil.copytree(repository, source, symlinks=True, ignore=left_out)  # building leaves files
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', folder, cwd=source)
    return folder


@pytest.fixture(scope='module')
def wheel(distributions) -> zipfile.ZipFile:
    (path,) = distributions.glob('*.whl')
    return zipfile.ZipFile(path)


@pytest.fixture(scope='module')
def metadata(wheel) -> email.message.Message:
    (path,) = (name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
    return email.message_from_bytes(wheel.read(path))


@pytest.fixture(scope='module')
def requirements(metadata) -> list[Requirement]:
    return [Requirement(line) for line in metadata.get_all('Requires-Dist')]


def of_extra(requirements: list[Requirement], extra: str) -> set[str]:
    """Names of what one extra adds."""
    return {
        one.name
        for one in requirements
        if one.marker and not one.marker.evaluate() and one.marker.evaluate({'extra': extra})
    }


def test_metadata(metadata):
    assert metadata['Version'] == mmseg_balance.__version__
    assert metadata['License-Expression'] == 'Apache-2.0'
    assert '# ' in metadata.get_payload()


def test_pytorch_and_numpy_are_all_that_is_required(requirements):
    assert {one.name for one in requirements if not one.marker} == {'torch', 'numpy'}
    assert {'mmengine', 'mmsegmentation', 'setuptools'} <= of_extra(requirements, 'mmseg')
    assert of_extra(requirements, 'lite') == {'mmseg_balance', 'mmcv-lite'}
    assert not {name for name in of_extra(requirements, 'mmseg') if 'mmcv' in name}


@pytest.mark.parametrize(
    ('name', 'accepted', 'refused'),
    [
        ('torch', ['2.1.0', '2.13.0'], ['2.0.1']),
        ('mmengine', ['0.10.0', '0.10.7'], ['0.9.1']),
        ('mmsegmentation', ['1.2.0', '1.2.2'], ['1.1.2', '2.0.0']),
        ('mmcv-lite', ['2.1.0'], ['2.2.0']),
        ('setuptools', ['80.10.2'], ['81.0.0']),
    ],
)
def test_version_ranges(requirements, name, accepted, refused):
    (specifier,) = (one.specifier for one in requirements if one.name == name)
    assert all(version in specifier for version in accepted)
    assert not any(version in specifier for version in refused)


def test_tested_versions_fit_the_declared_ranges(repository, requirements):
    lines = (repository / 'requirements' / 'tested.txt').read_text().splitlines()
    for pin in (Requirement(line) for line in lines if line and not line.startswith('#')):
        assert [spec.operator for spec in pin.specifier] == ['=='], f'{pin} is not an exact version'
        version = next(iter(pin.specifier)).version
        for requirement in requirements:
            if pin.name == requirement.name:
                assert version in requirement.specifier, f'{pin} against {requirement}'


def files_of(folder: Path, *kinds: str) -> set[str]:
    """Files in a folder, relative to it."""
    return {
        path.relative_to(folder).as_posix()
        for kind in kinds
        for path in folder.rglob(f'*{kind}')
        if path.is_file() and '.mim' not in path.parts
    }


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    """A folder without __init__.py would import from a clone and be missing here."""
    expected = files_of(ROOMS, '.py', '.css', '.jinja')
    assert {f'mmseg_balance/{name}' for name in expected} <= set(wheel.namelist())


def test_configs_and_tools_are_in_the_wheel(repository, wheel):
    names = set(wheel.namelist())
    configs = files_of(repository / 'configs', '.py')
    assert {f'mmseg_balance/.mim/configs/{name}' for name in configs} <= names
    for name in (
        'tools/train.py',
        'tools/test.py',
        'tools/dist_train.sh',
        'model-index.yml',
        'metafile.yml',
    ):
        assert f'mmseg_balance/.mim/{name}' in names
    assert not [name for name in names if 'tests/' in name or name.endswith('soak.py')]


def test_the_gpu_report_which_runs_the_tests_is_not_in_the_wheel(wheel):
    assert not [name for name in wheel.namelist() if name.endswith('gpu_report.sh')]


def test_twine_accepts_both(distributions):
    run(sys.executable, '-m', 'twine', 'check', '--strict', *distributions.iterdir())


CONFIG = """
_base_ = [
    'mmseg_balance::_base_/models/deeplabv3_r18_small.py',
    'mmseg_balance::_base_/datasets/camvid_small.py',
    'mmseg_balance::_base_/losses/soft_dice.py',
    'mmseg_balance::_base_/schedules/schedule_600.py',
    'mmseg::_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
train_cfg = dict(max_iters=3, val_interval=3)
default_hooks = dict(logger=dict(interval=1))
"""


@pytest.fixture(scope='module')
def installed(distributions, tmp_path_factory) -> Path:
    """The programs of a fresh environment with the wheel; what it requires is borrowed from here."""
    folder = tmp_path_factory.mktemp('environment')
    run(sys.executable, '-m', 'venv', '--without-pip', folder)
    python = folder / 'bin' / 'python'
    (path,) = distributions.glob('*.whl')
    run(sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index', path)
    found = run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').stdout
    borrowed = sysconfig.get_path('purelib')
    Path(found.strip(), 'borrowed.pth').write_text(f'{borrowed}\n')
    return python.parent


def test_the_installed_command_trains_in_an_empty_folder(installed, tiny_camvid, tmp_path):
    (tmp_path / 'mine.py').write_text(CONFIG)
    loaders = [f'{split}_dataloader' for split in ('train', 'val', 'test')]
    options = [
        f'{loader}.{option}'
        for loader in loaders
        for option in (
            f'dataset.data_root={tiny_camvid}',
            'num_workers=0',
            'persistent_workers=False',
        )
    ]
    where = run(
        installed / 'python', '-c', 'import mmseg_balance; print(mmseg_balance.__file__)',
        cwd=tmp_path,
    )  # fmt: skip
    assert where.stdout.strip().splitlines()[-1].startswith(str(installed.parent))
    result = run(
        installed / 'mmseg-balance', 'train', 'mine.py', '--cfg-options', *options,
        cwd=tmp_path,
    )  # fmt: skip
    steps = re.findall(r'Iter\(train\) *\[(\d/3)\].* loss: \d', result.stdout + result.stderr)
    assert steps == ['1/3', '2/3', '3/3']
    assert (tmp_path / 'work_dirs' / 'mine' / 'iter_3.pth').is_file()


def test_changelog_licence_and_citation_know_this_version(repository):
    version = mmseg_balance.__version__
    changelog = (repository / 'CHANGELOG.md').read_text()
    assert re.search(rf'^## .*{re.escape(version)}', changelog, re.M)
    assert f'\nversion: {version}\n' in (repository / 'CITATION.cff').read_text()
    assert 'Apache License' in (repository / 'LICENSE').read_text()


def test_layers_of_the_import_contract_are_the_rooms(repository):
    """A new room must be given its place among the layers."""
    settings = tomllib.loads((repository / 'pyproject.toml').read_text())
    (layers,) = (
        contract['layers']
        for contract in settings['tool']['importlinter']['contracts']
        if contract['type'] == 'layers'
    )
    named = {name.strip() for layer in layers for name in layer.split('|')}
    rooms = {f'mmseg_balance.{path.parent.name}' for path in ROOMS.glob('*/__init__.py')}
    assert rooms <= named


def test_rooms_are_named_after_what_is_in_them():
    parts = {part for name in files_of(ROOMS, '.py') for part in Path(name).with_suffix('').parts}
    assert parts & FORBIDDEN_NAMES == set()
