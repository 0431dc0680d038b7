"""The package's metadata, and what a wheel of it holds."""

import re
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import mmseg_balance


def requirements() -> dict[str, Requirement]:
    parsed = (Requirement(line) for line in metadata.requires('mmseg_balance'))
    return {
        (requirement.name, str(requirement.marker or '')): requirement for requirement in parsed
    }


def test_version_is_written_once():
    assert metadata.version('mmseg_balance') == mmseg_balance.__version__


def test_mmcv_is_never_a_hard_requirement():
    hard = {name for name, marker in requirements() if 'extra' not in marker}
    assert not {name for name in hard if 'mmcv' in name}
    assert {'torch', 'mmengine', 'mmsegmentation', 'setuptools'} <= hard
    lite = {
        str(requirement).split(';')[0].strip()
        for (_, marker), requirement in requirements().items()
        if 'lite' in marker
    }
    assert lite == {'mmcv-lite==2.1.0'}


@pytest.mark.parametrize(
    ('name', 'accepted', 'refused'),
    [
        ('torch', ['2.1.0', '2.13.0'], ['2.0.1']),
        ('mmengine', ['0.10.0', '0.10.7'], ['0.9.1']),
        ('mmsegmentation', ['1.2.0', '1.2.2'], ['1.1.2', '2.0.0']),
        ('setuptools', ['80.10.2'], ['81.0.0']),
    ],
)
def test_version_ranges(name, accepted, refused):
    specifier = requirements()[name, ''].specifier
    assert all(version in specifier for version in accepted)
    assert not any(version in specifier for version in refused)


def test_tested_versions_fit_the_declared_ranges(repository):
    lines = (repository / 'requirements' / 'tested.txt').read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith('#')]
    declared = requirements()
    for pin in pins:
        assert [spec.operator for spec in pin.specifier] == ['=='], f'{pin} is not an exact version'
        version = next(iter(pin.specifier)).version
        for (name, _), requirement in declared.items():
            if name == pin.name:
                assert version in requirement.specifier, f'{pin} against {requirement}'


def test_every_room_is_packaged(repository, tmp_path):
    """A folder without __init__.py would import from a clone and be missing from a wheel."""
    script = 'from setuptools import find_packages; print(*find_packages(include=["mmseg_balance", "mmseg_balance.*"]))'
    found = subprocess.run(
        [sys.executable, '-c', script], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.split()
    folders = {path.parent for path in (repository / 'mmseg_balance').rglob('*.py')}
    assert set(found) == {'.'.join(folder.relative_to(repository).parts) for folder in folders}


def test_readme_and_changelog_know_this_version(repository):
    changelog = (repository / 'CHANGELOG.md').read_text()
    assert re.search(rf'^## .*{re.escape(mmseg_balance.__version__)}', changelog, re.M)
    assert 'Apache License' in (repository / 'LICENSE').read_text()
    assert metadata.metadata('mmseg_balance')['License'] == 'Apache-2.0' or (
        metadata.metadata('mmseg_balance')['License-Expression'] == 'Apache-2.0'
    )


@pytest.mark.parametrize('script', ['train.py', 'test.py', 'quickstart.py', 'compare.py'])
def test_help_describes_every_option(repository: Path, monkeypatch, capsys, script):
    monkeypatch.setattr(sys, 'argv', [script, '--help'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(repository / 'tools' / script), run_name='__main__')
    assert end.value.code == 0
    options = re.split(r'\n(?=  \S)', capsys.readouterr().out)[1:]
    assert len(options) >= 2
    assert [option for option in options if len(option.split()) < 3] == []
