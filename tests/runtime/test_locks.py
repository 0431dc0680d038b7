"""Waiting for a lock can be ended, in a thread too."""

import threading
import time
from functools import partial

import pytest

from mmseg_balance.experiments.engines import LocalEngine
from mmseg_balance.runtime.locks import file_lock


def test_ctrl_c_ends_a_call_that_waits_for_a_lock(tmp_path):
    """A thread that waited inside the system call kept the whole command."""

    def waits(place) -> None:
        with file_lock(tmp_path / 'lock', while_waiting=place.check):
            pass

    def interrupted() -> None:
        raise KeyboardInterrupt

    with file_lock(tmp_path / 'lock'):
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            LocalEngine().run([waits], interrupted, lambda number, outcome: None)
        assert time.monotonic() - started < 10


def test_a_lock_is_taken_when_its_holder_ends(tmp_path):
    path, released = tmp_path / 'lock', threading.Event()
    with file_lock(path) as held:
        assert held is not None
        waits = []

        def note() -> None:
            waits.append(1)
            released.set()

        def second(found: list) -> None:
            with file_lock(path, while_waiting=note) as lock:
                found.append(lock)

        found: list = []
        thread = threading.Thread(target=partial(second, found), daemon=True)
        thread.start()
        assert released.wait(10)
        assert not found
    thread.join(10)
    assert found != [None]
    assert waits
