"""Killed twice with ``kill -9``, a screening ends with the table of an undisturbed one."""

import os
import signal
import subprocess
import sys

import torch

from mmseg_balance.experiments.results import load_results
from mmseg_balance.experiments.screen import command
from tests.support.gate import GateKeeper
from tests.support.tiny_screen import parse, workers_in_this_process, write_screen

AFTER = 4  # images, two iterations


def test_killed_twice_it_ends_with_the_same_table(tmp_path, monkeypatch, repository):
    """Both times the command and its worker, in the middle of the training."""
    monkeypatch.chdir(tmp_path)
    workers_in_this_process(monkeypatch)
    config, checkpoint = write_screen(tmp_path)
    gate = GateKeeper(tmp_path / 'gate')
    gate.build_into(config, AFTER)
    gate.open()
    given = ['--losses', 'recall', 'dlnce', '--iters', '6', '--work-dir']
    assert command.run(parse(config, checkpoint, *given, 'undisturbed')) == 0
    gate.close()
    call = ['-m', 'mmseg_balance', 'screen', str(config), str(checkpoint), *given, 'work']
    for attempt in range(2):
        started = subprocess.Popen(
            [sys.executable, *call], env={**os.environ, 'PYTHONPATH': str(repository)}
        )
        worker, parent = gate.waiting(attempt, AFTER)
        assert parent == started.pid
        for process in (parent, worker):
            os.kill(process, signal.SIGKILL)
        assert started.wait() == -signal.SIGKILL
        assert not (tmp_path / 'work' / 'results.json').exists()
    gate.open()
    assert command.run(parse(config, checkpoint, *given, 'work')) == 0
    assert list(gate.loaded().values()) == [5, 5, 4], 'images of the three: each went on'
    for loss in ('recall', 'dlnce'):
        expected, found = (
            torch.load(tmp_path / work / 'runs' / loss / 'seed0' / 'head.pth', weights_only=True)
            for work in ('undisturbed', 'work')
        )
        for name, value in expected.items():
            assert torch.equal(value, found[name]), (loss, name)
    scores = [
        [(run['method'], run['split'], run['scores']) for run in load_results(tmp_path / w)['runs']]
        for w in ('undisturbed', 'work')
    ]
    assert scores[0] == scores[1]
    assert not list((tmp_path / 'work' / 'passes').glob('*/pass.json')), 'checkpoints are gone'
