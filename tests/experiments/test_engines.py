"""The local engine: places, results, failures, stops. ``test_on_ray`` has the other one."""

import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from mmseg_balance.experiments import engines
from mmseg_balance.experiments.engines import LocalEngine, environments, make_engine
from tests.support.gate import wait_for


def outcomes(engine, calls, on_tick=lambda: None) -> dict:
    found = {}
    engine.run(calls, on_tick, found.__setitem__)
    return found


def meet(folder: Path, number: int, others: int, place) -> int:
    """Ends when all others have begun: never, if they run one after another."""
    (folder / str(number)).write_text(str(os.getpid()))
    wait_for(lambda: len(list(folder.iterdir())) == others, 'the start of the others')
    return number * number


def fail(place):
    raise ValueError('p = 0.5 is not allowed')


def test_local_jobs_run_at_the_same_time(tmp_path):
    calls = [partial(meet, tmp_path, number, 3) for number in range(3)]
    assert outcomes(LocalEngine(3), calls) == {0: 0, 1: 1, 2: 4}


def test_local_failure_is_a_result_and_the_others_go_on():
    found = outcomes(LocalEngine(2), [fail, lambda place: 'fine'])
    assert isinstance(found[0], ValueError)
    assert found[1] == 'fine'


def test_local_stop_reaches_every_call_and_the_waiting_ones_never_start():
    begun, ended = [], []

    def call(number, place):
        begun.append(number)
        try:
            while True:
                place.check()
                time.sleep(0.01)
        finally:
            ended.append(number)

    def on_tick():
        if len(begun) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalEngine(2).run([partial(call, n) for n in range(4)], on_tick, lambda *end: None)
    assert sorted(begun) == sorted(ended) == [0, 1]


def test_slots_have_devices_and_cores_of_their_own(monkeypatch):
    monkeypatch.setattr(engines, 'usable_cores', lambda: 8)
    seen = environments(2, 1, {'CUDA_VISIBLE_DEVICES': '3,5'})
    assert [e['CUDA_VISIBLE_DEVICES'] for e in seen] == ['3', '5']
    assert [e['OMP_NUM_THREADS'] for e in seen] == ['4', '4']
    assert (
        environments(2, 1, {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'})
        == [{'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}] * 2
    )
    with pytest.raises(ValueError, match='--jobs 2 with --gpus 2 needs 4 GPUs and 3 are visible'):
        environments(2, 2, {'CUDA_VISIBLE_DEVICES': '0,1,2'})


@pytest.mark.parametrize('none', ['-1', 'NoDevFiles'])
def test_jobs_of_a_machine_whose_gpus_are_hidden(none):
    """CUDA_VISIBLE_DEVICES=-1 counted as one GPU, so that --jobs 2 was refused."""
    own = {'CUDA_VISIBLE_DEVICES': none, 'OMP_NUM_THREADS': '1'}
    assert environments(2, 1, own) == [own] * 2


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (dict(name='slurm'), '--engine slurm: choose from local, ray'),
        (dict(name='local', jobs=0), '--jobs 0: give 1 or more'),
        (dict(name='local', address='auto'), '--address is for --engine ray'),
        (dict(name='ray', jobs=2), '--jobs is for --engine local'),
    ],
)
def test_arguments_that_do_not_fit(arguments, said):
    with pytest.raises(ValueError, match=said):
        make_engine(**arguments)


def test_each_call_of_several_gets_its_environment(tmp_path, monkeypatch):
    """Two at a time never share a GPU."""
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,1')
    lock, at_work, shared = threading.Lock(), set(), []

    def call(place):
        device = place.environment['CUDA_VISIBLE_DEVICES']
        with lock:
            shared.append(device in at_work)
            at_work.add(device)
        time.sleep(0.02)
        with lock:
            at_work.remove(device)
        return device

    found = outcomes(LocalEngine(2), [call] * 6)
    assert set(found.values()) == {'0', '1'}
    assert not any(shared)
