"""With PyTorch and NumPy alone: the functions work, the rest says in one sentence what to install."""

import os
import runpy
import subprocess
import sys

import pytest
import torch

HEAVY = ('mmengine', 'mmcv', 'mmseg', 'cv2', 'matplotlib', 'scipy', 'statsmodels', 'rich', 'jinja2')


def run_without(code: str, *missing: str, **options) -> subprocess.CompletedProcess:
    """Run Python code in a new process in which some packages cannot be imported."""
    hide = f'import sys\nfor name in {missing!r}: sys.modules[name] = None\n'
    return subprocess.run(
        [sys.executable, '-c', hide + code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        **options,
    )


def test_the_example_runs(repository):
    example = repository / 'examples' / 'plain_pytorch.py'
    result = run_without(
        f'import runpy; sys.argv = ["", "--epochs", "1"]\n'
        f'runpy.run_path({str(example)!r}, run_name="__main__")',
        *HEAVY,
    )
    assert result.returncode == 0, result.stderr
    _, iou, calibration = result.stdout.splitlines()
    assert len(iou.split()) == 6
    assert all(float(value) > 10 for value in iou.split()[3:5])
    assert 'ECE 0.' in calibration


def test_the_example_takes_images_whose_sides_are_no_multiples_of_4(repository):
    example = runpy.run_path(str(repository / 'examples' / 'plain_pytorch.py'))
    assert example['UNet'](3)(torch.zeros(2, 3, 45, 62)).shape == (2, 3, 45, 62)


@pytest.mark.parametrize(
    ('room', 'missing', 'remedy'),
    [
        ('losses', ('mmseg',), 'needs MMSegmentation, and mmseg cannot be imported: run pip'),
        ('hooks', ('mmengine', 'mmcv'), 'mmengine and mmcv cannot be imported'),
        ('samplers', ('mmcv',), 'mmcv-lite==2.1.0'),
        ('segmentors', ('mmseg',), 'mmseg_balance.segmentors needs MMSegmentation'),
        ('statistics', ('mmseg',), 'mmseg_balance.statistics needs MMSegmentation'),
    ],
)
def test_the_rest_says_what_to_install(room, missing, remedy):
    result = run_without(f'import mmseg_balance.{room}', *missing)
    last = result.stderr.splitlines()[-1]
    assert last.startswith('mmseg_balance.compat.MissingPackageError: ')
    assert remedy in last


def test_a_verb_says_what_to_install():
    code = 'from mmseg_balance.cli import main; main(["train", "config.py"])'
    result = run_without(code, 'mmseg')
    assert result.returncode == 1
    assert result.stderr.startswith('error: mmseg_balance needs MMSegmentation, and mmseg cannot')
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize('table', ['losses', 'metric', 'statistics', 'sampler', 'jobs'])
def test_a_benchmark_says_what_to_install(table):
    """All but jobs ended in a ModuleNotFoundError."""
    code = f'from mmseg_balance.cli import main; main(["benchmark", {table!r}, "--help"])'
    result = run_without(code, *HEAVY)
    assert result.returncode == 1
    assert ' needs MMSegmentation, and mmengine and mmcv and mmseg cannot' in result.stderr
    assert len(result.stderr.splitlines()) == 1
