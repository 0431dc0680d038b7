"""mmseg-balance benchmark jobs: the same runs one after another and at the same time."""

import json
import os
import sys
from pathlib import Path

import pytest

from mmseg_balance.cli import main
from mmseg_balance.experiments import speed_up
from tests.support.tiny_screen import write_screen


def test_runs_at_a_time_are_timed_with_the_same_threads(tmp_path, monkeypatch):
    """Trainings are stand-ins; each way has the number of threads that it says."""
    script = """
import os, pathlib, sys
if sys.argv[1] == 'train':
    folder = pathlib.Path(sys.argv[4])
    folder.mkdir()
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_2.pth'))
    threads = os.environ.get('OMP_NUM_THREADS', 'all')
    (folder / 'iter_2.pth').write_text('')
    with open('threads.txt', 'a') as file:
        file.write(threads + ' ')
"""

    class StandIns:
        def command(self, verb, *arguments):
            return [sys.executable, '-c', script, verb, *map(str, arguments)]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed_up, 'Launcher', StandIns)
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    path, _ = write_screen(tmp_path)
    given = ['--config', str(path), '--losses', 'ce', '--seeds', '0', '1', '--iters', '2']
    main(['benchmark', 'jobs', *given, '--json', 'jobs.json'])
    assert Path('threads.txt').read_text().split() == ['1'] * 4 + ['all'] * 2
    assert os.environ['OMP_NUM_THREADS'] == '7'
    (table,) = json.loads(Path('jobs.json').read_text())['tables']
    assert table['title'] == '2 runs of 2 iterations, tiny'
    one, two, alone = table['rows']
    assert [row['threads of a run'] for row in table['rows']] == ['1', '1', 'all']
    for row in (one, two, alone):
        assert row['speed-up'] == pytest.approx(one['seconds'] / row['seconds'])


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (['--config', 'nowhere.py'], 'there is no config nowhere.py'),
        (['--iters', '0'], '--iters 0: give 1 or more'),
    ],
)
def test_mistakes_are_told_in_a_sentence(given, said):
    with pytest.raises(SystemExit, match=f'error: {said}'):
        main(['benchmark', 'jobs', *given])


def test_a_failed_run_is_no_measurement(tmp_path, monkeypatch):
    class Failing:
        def command(self, verb, *arguments):
            return [sys.executable, '-c', 'raise SystemExit("p = 0.5 is not allowed")']

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed_up, 'Launcher', Failing)
    path, _ = write_screen(tmp_path)
    with pytest.raises(RuntimeError, match='p = 0.5 is not allowed'):
        main(['benchmark', 'jobs', '--config', str(path), '--losses', 'ce', '--iters', '2'])
