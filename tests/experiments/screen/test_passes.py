"""Passes beside those of another process."""

import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmseg_balance.experiments.engines import LocalEngine
from mmseg_balance.experiments.plan import Ingredient, Run
from mmseg_balance.experiments.results import write_json
from mmseg_balance.experiments.screen import passes as module
from mmseg_balance.experiments.screen.passes import Passes, pass_name
from mmseg_balance.experiments.screen.plan import HeadRun
from mmseg_balance.runtime.locks import file_lock


def test_a_pass_that_another_process_has_is_waited_for_in_words(tmp_path):
    job = SimpleNamespace(
        hash='h', finished=False, group=(), head_run=SimpleNamespace(folder='runs/ce/seed0')
    )
    said, lock = [], file_lock(tmp_path / 'passes' / f'.{pass_name([job])}.lock')

    def end_of_the_other_process() -> None:
        job.finished = True
        lock.__exit__(None, None, None)

    def say(text: str) -> None:
        said.append(text)
        threading.Timer(0.2, end_of_the_other_process).start()

    lock.__enter__()
    shown = []
    passes = Passes(tmp_path, None, {}, LocalEngine(), 16, lambda *what: shown.append(what), say)
    passes.run([job], lambda: None)
    assert said == ['1 head: waiting for the process that is at work on them']
    assert shown == [(pass_name([job]), 'end', 1, 0)]


def test_heads_that_are_tried_again_are_counted_and_told_once(tmp_path, monkeypatch):
    jobs = [
        SimpleNamespace(
            hash=name,
            finished=False,
            group=(),
            head_run=SimpleNamespace(folder=f'runs/{name}/seed0', name=name),
            folder=SimpleNamespace(state={}),
        )
        for name in ('ce', 'dice')
    ]
    monkeypatch.setattr(module, 'run_pass', lambda *_: (False, []))
    ended, said = [], []
    passes = Passes(
        tmp_path, None, {}, LocalEngine(), 16, lambda *what: ended.append(what[2]), said.append
    )
    passes.run(jobs, lambda: None)
    assert ended == [0, 1, 1]
    again, *failed = said
    assert again == '2 heads are tried one by one, since their process failed'
    assert [line.split(':')[0] for line in failed] == ['ce', 'dice']


@pytest.mark.parametrize('at_work', [True, False])
def test_a_pass_that_another_process_scores_keeps_its_folder(tmp_path, at_work):
    """Once its heads are trained a pass is given up, unless somebody is at work on it."""
    run = HeadRun(Run(Ingredient('ce', Path('ce.py')), Ingredient('config', None), 0))
    job = SimpleNamespace(hash='h', finished=False, group=(), head_run=run)
    folder = tmp_path / 'passes' / pass_name([job])
    write_json(tmp_path / run.folder / 'state.json', dict(hash='h', trained='h'))
    write_json(folder / 'pass.json', dict(runs=[run.to_dict()], hashes=['h']))
    passes = Passes(tmp_path, None, {}, LocalEngine(), 16, print, print)
    lock = file_lock(tmp_path / 'passes' / f'.{folder.name}.lock')
    with lock if at_work else nullcontext():
        assert passes._interrupted([job]) == ([[job]] if at_work else [])
    assert folder.exists() == at_work
