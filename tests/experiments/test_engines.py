"""The engines do the same: places, results, failures, stops, workers that die. One Ray cluster of two nodes."""

import io
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from mmseg_balance.experiments import engines
from mmseg_balance.experiments.engines import LocalEngine, RayEngine, environments, make_engine
from mmseg_balance.experiments.execution import execute
from mmseg_balance.experiments.progress import Progress
from tests.experiments.test_execution import Comparison, StandIns, ends

PATIENCE = 60.0


def outcomes(engine, calls, on_tick=lambda: None) -> dict:
    found = {}
    engine.run(calls, on_tick, found.__setitem__)
    return found


def wait_for(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, 'nothing came'
        time.sleep(0.05)


def meet(folder: Path, number: int, others: int, place) -> int:
    """Ends when all others have begun: never, if they run one after another."""
    (folder / str(number)).write_text(str(os.getpid()))
    wait_for(lambda: len(list(folder.iterdir())) == others)
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
    monkeypatch.setattr(engines, '_own_cores', lambda: range(8))
    seen = environments(2, 1, {'CUDA_VISIBLE_DEVICES': '3,5'})
    assert [e['CUDA_VISIBLE_DEVICES'] for e in seen] == ['3', '5']
    assert [e['OMP_NUM_THREADS'] for e in seen] == ['4', '4']
    assert (
        environments(2, 1, {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'})
        == [{'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}] * 2
    )
    with pytest.raises(ValueError, match='--jobs 2 with --gpus 2 needs 4 GPUs and 3 are visible'):
        environments(2, 2, {'CUDA_VISIBLE_DEVICES': '0,1,2'})


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


# Behaves like a training that can be resumed: counts to 12, a checkpoint every 2.
TRAIN = """
import json, os, pathlib, re, sys, time
config, work_dir = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
loss = re.search(r"loss_decode=\\[\\s*dict\\(type='(\\w+)'", config.read_text()).group(1)
if loss == 'Broken':
    sys.exit('ValueError: p = 0.5 is not allowed')
work_dir.mkdir(parents=True, exist_ok=True)
marker = work_dir / 'last_checkpoint'
start = int(pathlib.Path(marker.read_text()).stem.split('_')[1]) if '--resume' in sys.argv else 0
with open(config.parent / 'tries.txt', 'a') as tries:
    tries.write(f'{os.getpid()} {os.getppid()} {start}\\n')
for step in range(start + 1, 13):
    # 'Waits' leaves half a minute for a stop to arrive, and is quick once it has been resumed.
    slow = 2.5 if loss == 'Waits' and start == 0 else 0.25 if loss.startswith('Slow') else 0.02
    time.sleep(slow)
    if step % 2 == 0:
        (work_dir / f'iter_{step}.pth').write_text(str(step * len(loss)))
        marker.write_text(str(work_dir / f'iter_{step}.pth'))
"""
TEST = """
import pathlib, sys
score = pathlib.Path(sys.argv[2]).read_text()
(pathlib.Path(sys.argv[1]).parent / 'score.txt').write_text(score)
"""
LOSSES = ('Good', 'SlowA', 'SlowBB', 'Broken')


@pytest.fixture
def comparison(tmp_path):
    made = Comparison(tmp_path)
    (made.tools / 'train.py').write_text(TRAIN)
    (made.tools / 'test.py').write_text(TEST)
    return made


def run(comparison, engine, losses=LOSSES, on_update=lambda name: None) -> str:
    screen = io.StringIO()
    jobs = comparison.jobs(*losses, iterations=12)
    with Progress(len(jobs), Console(file=screen, width=200), engine.slots) as progress:
        update = progress.update

        def updated(name, step):
            update(name, step)
            on_update(name)

        progress.update = updated
        execute(jobs, StandIns(comparison.tools), comparison.work_dir, progress, engine=engine)
    return screen.getvalue()


def table(comparison) -> dict:
    """What is left on disk of each run, times and process numbers apart."""
    found = {}
    for loss in LOSSES:
        folder = comparison.folder(loss)
        score = folder.path / 'score.txt'
        found[loss] = (
            score.read_text() if score.is_file() else None,
            folder.finished and folder.finished['hash'],
            {k: v for k, v in folder.state.items() if k in ('method', 'seed', 'hash', 'trained')},
            'p = 0.5 is not allowed' in folder.state['error'],
        )
    return found


def tries(comparison, loss) -> list[list[int]]:
    path = comparison.folder(loss).path / 'tries.txt'
    lines = path.read_text().splitlines() if path.is_file() else []
    return [[int(number) for number in line.split()] for line in lines]


@pytest.fixture(scope='module')
def cluster():
    """Two nodes of one core each on this machine; Ray tests skip where it is missing."""
    pytest.importorskip('ray')
    from ray.cluster_utils import Cluster

    os.environ['RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO'] = '0'
    made = Cluster(initialize_head=True, head_node_args={'num_cpus': 1, 'include_dashboard': False})
    made.add_node(num_cpus=1)
    yield made
    import ray

    ray.shutdown()
    made.shutdown()


@pytest.fixture
def ray_engine(cluster, monkeypatch, repository):
    monkeypatch.setenv('PYTHONPATH', str(repository))
    return RayEngine(cluster.address)


@pytest.mark.requires_package('ray')
class TestRay:
    def test_two_nodes_run_at_the_same_time(self, ray_engine, tmp_path):
        assert ray_engine.slots == 2
        found = outcomes(ray_engine, [partial(meet, tmp_path, n, 2) for n in range(2)])
        assert found == {0: 0, 1: 1}
        assert len({path.read_text() for path in tmp_path.iterdir()}) == 2

    def test_a_killed_worker_changes_nothing_in_the_table(self, ray_engine, comparison, tmp_path):
        (tmp_path / 'local').mkdir()
        local = Comparison(tmp_path / 'local')
        for name, text in (('train.py', TRAIN), ('test.py', TEST)):
            (local.tools / name).write_text(text)
        run(local, LocalEngine())
        killed = []

        def kill_once(name):
            if killed or not name.startswith('SlowA'):
                return
            if comparison.folder('SlowA').last_checkpoint() is None:
                return
            training, worker, _ = tries(comparison, 'SlowA')[0]
            killed.extend([training, worker])
            for pid in (worker, training):  # as when the node dies
                os.kill(pid, signal.SIGKILL)

        said = run(comparison, ray_engine, on_update=kill_once)
        assert killed
        first, second = tries(comparison, 'SlowA')
        assert first[2] == 0
        assert second[2] >= 2, 'it began again from nothing'
        assert second[1] != first[1], 'the same worker'
        assert 'SlowA, seed 0: goes on from iter_' in said
        assert 'Broken, seed 0: FAILED' in said
        assert 'p = 0.5 is not allowed' in said
        assert len(tries(comparison, 'SlowBB')) == 1

        def without_hash(found):
            return {k: (v[0], bool(v[1]), v[2]['method'], v[3]) for k, v in found.items()}

        assert without_hash(table(comparison)) == without_hash(table(local))

    def test_a_worker_alone_is_killed_and_its_training_lives_on(self, ray_engine, comparison):
        """No second training writes into the folder: the retry waits for the first to end."""
        killed = []

        def kill_once(name):
            if not killed and tries(comparison, 'SlowA'):
                killed.append(tries(comparison, 'SlowA')[0][1])
                os.kill(killed[0], signal.SIGKILL)

        run(comparison, ray_engine, losses=('SlowA',), on_update=kill_once)
        assert killed
        assert comparison.folder('SlowA').finished
        assert (comparison.folder('SlowA').path / 'score.txt').read_text() == str(12 * 5)
        assert len(tries(comparison, 'SlowA')) == 2

    def test_a_stop_ends_the_trainings_and_the_same_call_goes_on(self, ray_engine, comparison):
        def stop(name):
            if comparison.folder('Waits').last_checkpoint():
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(comparison, ray_engine, losses=('Waits',), on_update=stop)
        assert ends(tries(comparison, 'Waits')[0][0]), 'the training was left behind'
        said = run(comparison, ray_engine, losses=('Waits',))
        assert 'goes on from' in said
        assert comparison.folder('Waits').finished

    def test_a_failure_is_a_result(self, ray_engine):
        found = outcomes(ray_engine, [fail, lambda place: 'fine'])
        assert 'p = 0.5 is not allowed' in str(found[0])
        assert found[1] == 'fine'

    def test_more_than_the_cluster_has(self, cluster, ray_engine):
        with pytest.raises(ValueError, match='--gpus 7: the Ray cluster has 2 CPUs in all'):
            RayEngine(cluster.address, gpus=7)

    def test_a_label_scan_counts_as_one_process_does(self, ray_engine, tmp_path, repository):
        from mmengine.config import Config

        from mmseg_balance.experiments.scan_on_ray import scan_on_ray
        from mmseg_balance.statistics import ClassStatistics, build_training_set
        from tests.support.tiny_run import tiny_config

        config = Config(tiny_config(tmp_path / 'data', tmp_path / 'work').to_dict())
        found = scan_on_ray(config, tmp_path / 'whole.npz', engine=ray_engine)
        alone = ClassStatistics.scan(build_training_set(config), workers=1, progress=False)
        assert found.counts.tolist() == alone.counts.tolist()
        assert found.fingerprint == alone.fingerprint
        assert [path.name for path in tmp_path.glob('*.npz')] == ['whole.npz']
