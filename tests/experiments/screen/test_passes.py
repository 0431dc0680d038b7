"""Passes beside those of another process."""

import threading
from types import SimpleNamespace

from mmseg_balance.experiments.engines import LocalEngine
from mmseg_balance.experiments.screen.passes import Passes, pass_name
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
