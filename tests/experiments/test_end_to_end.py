"""The command itself, with a real training of two iterations."""

import os
import subprocess
import sys

import pytest

from mmseg_balance.experiments.results import load_results
from mmseg_balance.metrics.confusion_file import load_confusions

CONFIG = 'configs/deeplabv3_ce_camvid_small.py'


@pytest.fixture
def compare(repository):
    def compare(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, 'tools/compare.py', CONFIG, *arguments],
            cwd=repository,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        )

    return compare


def test_a_comparison_from_nothing(compare, tiny_camvid, tmp_path):
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
    result = compare(
        '--losses',
        'lmp',
        '--samplers',
        'uniform',
        '--iters',
        '2',
        '--images',
        '2',
        '--work-dir',
        str(tmp_path),
        '--cfg-options',
        *options,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'lmp + uniform, seed 0: done in' in result.stdout
    results = load_results(tmp_path)
    (run,) = results['runs']
    assert run['state'] == 'finished'
    confusions, _ = load_confusions(tmp_path / run['confusion'])
    assert confusions.sum() == sum(results['pixels']) > 0
    assert 0 < run['scores']['acc'] < 1
    assert [step for step, _ in run['curves']['loss']] == [1, 2]
    assert run['seconds_per_iteration'] > 0
    assert len(results['strips']['pictures']) == 2
    assert '2 iterations of 4 images' in results['setting']['length']
    assert (tmp_path / 'report.html').stat().st_size > 10_000


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--losses', 'lpm'], "--losses: no 'lpm' (did you mean 'lmp'?"),
        (['--report-only', '--work-dir', 'nowhere'], 'run the comparison first'),
        (
            ['--cfg-options', 'train_dataloader.dataset.data_root=nowhere'],
            'train_dataloader.dataset: nowhere/images/train does not exist',
        ),
    ],
)
def test_mistakes_are_told_in_a_sentence_before_any_training(compare, tmp_path, arguments, said):
    result = compare(
        *arguments, *([] if '--work-dir' in arguments else ['--work-dir', str(tmp_path)])
    )
    assert result.returncode == 2
    assert said in result.stderr
    assert 'Traceback' not in result.stderr
    assert list(tmp_path.iterdir()) == []
