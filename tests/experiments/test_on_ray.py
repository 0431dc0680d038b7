"""Ray gives what the local engine gives, also when its workers are killed. One cluster of two nodes.

Trainings of the comparison are stand-ins that wait at a gate, so that each is killed or stopped in
the middle on however slow a machine. Of the screening, everything is real.
"""

import io
import os
import signal
import threading
from functools import partial

import pytest
import torch
from rich.console import Console

from mmseg_balance.experiments.engines import LocalEngine, RayEngine
from mmseg_balance.experiments.execution import execute
from mmseg_balance.experiments.progress import Progress
from mmseg_balance.experiments.results import load_results
from mmseg_balance.experiments.screen import command
from tests.experiments.test_engines import fail, meet, outcomes
from tests.experiments.test_execution import Comparison, StandIns, ends
from tests.support.gate import PATIENCE, GateKeeper
from tests.support.tiny_screen import parse, workers_in_this_process, write_screen

# Behaves like a training that can be resumed: counts to 12, a checkpoint every 2. At its first try
# a loss 'Slow…' waits before step 5 for a file.
TRAIN = f"""
import os, pathlib, re, sys, time
config, work_dir = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
loss = re.search(r"loss_decode=\\[\\s*dict\\(type='(\\w+)'", config.read_text()).group(1)
if loss == 'Broken':
    sys.exit('ValueError: p = 0.5 is not allowed')
work_dir.mkdir(parents=True, exist_ok=True)
marker = work_dir / 'last_checkpoint'
start = int(pathlib.Path(marker.read_text()).stem.split('_')[1]) if '--resume' in sys.argv else 0
with open(config.parent / 'tries.txt', 'a') as tries:
    tries.write(f'{{os.getpid()}} {{os.getppid()}} {{start}}\\n')
gate, end = pathlib.Path(__file__).parent / f'open{{loss}}', time.monotonic() + {PATIENCE}
for step in range(start + 1, 13):
    while (loss.startswith('Slow') and (start, step) == (0, 5) and not gate.exists()
           and time.monotonic() < end):
        time.sleep(0.05)
    if step % 2 == 0:
        (work_dir / f'iter_{{step}}.pth').write_text(str(step * len(loss)))
        marker.write_text(str(work_dir / f'iter_{{step}}.pth'))
"""
TEST = """
import pathlib, sys
score = pathlib.Path(sys.argv[2]).read_text()
(pathlib.Path(sys.argv[1]).parent / 'score.txt').write_text(score)
"""
LOSSES = ('Good', 'SlowA', 'SlowBB', 'Broken')


class Comparing(Comparison):
    """A comparison on an engine, whose progress a test can look at."""

    def __init__(self, folder) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        (self.tools / 'train.py').write_text(TRAIN)
        (self.tools / 'test.py').write_text(TEST)

    def run_on(self, engine, *losses, on_update=lambda: None, on_say=lambda text: None) -> str:
        screen = io.StringIO()
        jobs = self.jobs(*losses, iterations=12)
        with Progress(len(jobs), Console(file=screen, width=200), engine.slots) as progress:
            update, say = progress.update, progress.say

            def updated(*arguments):
                update(*arguments)
                on_update()

            def said(text):
                say(text)
                on_say(text)

            progress.update, progress.say = updated, said
            execute(jobs, StandIns(self.tools), self.work_dir, progress, engine=engine)
        return screen.getvalue()

    def open_gate(self, loss: str) -> None:
        (self.tools / f'open{loss}').touch()

    def table(self) -> dict:
        """What is left on disk of each run, times, hashes and process numbers apart."""
        found = {}
        for loss in LOSSES:
            folder = self.folder(loss)
            score = folder.path / 'score.txt'
            found[loss] = (
                score.read_text() if score.is_file() else None,
                folder.finished is not None,
                [folder.state.get(key) for key in ('method', 'seed', 'trained', 'stage')],
                'p = 0.5 is not allowed' in folder.state['error'],
            )
        return found

    def tries(self, loss: str) -> list[list[int]]:
        """Of each training its process, that one's parent, and the iteration it began with."""
        path = self.folder(loss).path / 'tries.txt'
        lines = path.read_text().splitlines() if path.is_file() else []
        return [[int(number) for number in line.split()] for line in lines]


def kill(*processes: int) -> None:
    for process in processes:
        os.kill(process, signal.SIGKILL)


@pytest.fixture(scope='module')
def cluster():
    """Two nodes of one core each on this machine; the tests skip where Ray is missing."""
    ray = pytest.importorskip('ray')
    from ray.cluster_utils import Cluster

    os.environ['RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO'] = '0'
    made = Cluster(initialize_head=True, head_node_args={'num_cpus': 1, 'include_dashboard': False})
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def engine(cluster, monkeypatch, repository):
    monkeypatch.setenv('PYTHONPATH', str(repository))
    return RayEngine(cluster.address)


@pytest.mark.requires_package('ray')
class TestRay:
    def test_two_nodes_run_at_the_same_time(self, engine, tmp_path):
        assert engine.slots == 2
        assert outcomes(engine, [partial(meet, tmp_path, n, 2) for n in range(2)]) == {0: 0, 1: 1}
        assert len({path.read_text() for path in tmp_path.iterdir()}) == 2

    def test_killed_workers_change_nothing_in_the_table(self, engine, tmp_path):
        """SlowA loses worker and training, as when a node dies; SlowBB its worker alone.

        SlowA goes on elsewhere from its checkpoint. SlowBB's training lives on: no second one
        writes into its folder, and what is left to do waits for the end of the first.
        """
        local, comparison = Comparing(tmp_path / 'local'), Comparing(tmp_path / 'ray')
        for loss in LOSSES:
            local.open_gate(loss)
        local.run_on(LocalEngine(2), *LOSSES)
        killed = []

        def kill_both():
            found = [comparison.tries(loss) for loss in ('SlowA', 'SlowBB')]
            checkpoint = comparison.folder('SlowA').last_checkpoint()
            if killed or not all(found) or checkpoint is None or checkpoint.stem != 'iter_4':
                return
            killed.extend(found)
            (training, worker, _), (_, other_worker, _) = found[0][0], found[1][0]
            kill(worker, training, other_worker)

        def open_when_waited_for(text):
            if 'waiting for the process that is at work on it' in text:
                comparison.open_gate('SlowBB')

        said = comparison.run_on(engine, *LOSSES, on_update=kill_both, on_say=open_when_waited_for)
        assert killed
        first, second = comparison.tries('SlowA')
        assert (first[2], second[2]) == (0, 4), 'it did not go on from its checkpoint'
        assert second[1] != first[1], 'the same worker'
        assert 'SlowA, seed 0: goes on from iter_4' in said
        assert [begun for _, _, begun in comparison.tries('SlowBB')] == [0, 12]
        assert 'SlowBB, seed 0: waiting for the process' in said
        assert 'Broken, seed 0: FAILED' in said
        assert 'p = 0.5 is not allowed' in said
        assert comparison.table() == local.table()

    @pytest.mark.parametrize('interrupted', [True, False])
    def test_a_stop_ends_the_trainings_and_the_same_call_goes_on(
        self, engine, tmp_path, monkeypatch, interrupted
    ):
        """Also where a busy worker misses that Ray interrupts it."""
        if not interrupted:
            monkeypatch.setattr(engine.ray, 'cancel', lambda *args, **kwargs: None)
        comparison = Comparing(tmp_path)

        def stop():
            if comparison.folder('Slow').last_checkpoint():
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            comparison.run_on(engine, 'Slow', on_update=stop)
        assert ends(comparison.tries('Slow')[0][0]), 'the training was left behind'
        assert 'goes on from' in comparison.run_on(engine, 'Slow')
        assert comparison.folder('Slow').finished

    def test_a_failure_is_a_result(self, engine):
        found = outcomes(engine, [fail, lambda place: 'fine'])
        assert 'p = 0.5 is not allowed' in str(found[0])
        assert found[1] == 'fine'

    def test_more_than_the_cluster_has(self, cluster, engine):
        with pytest.raises(ValueError, match='--gpus 7: the Ray cluster has 2 CPUs in all'):
            RayEngine(cluster.address, gpus=7)

    def test_a_label_scan_counts_as_one_process_does(self, engine, tmp_path):
        from mmengine.config import Config

        from mmseg_balance.experiments.scan_on_ray import scan_on_ray
        from mmseg_balance.statistics import ClassStatistics, build_training_set
        from tests.support.tiny_run import tiny_config

        config = Config(tiny_config(tmp_path / 'data', tmp_path / 'work').to_dict())
        found = scan_on_ray(config, tmp_path / 'whole.npz', engine=engine)
        alone = ClassStatistics.scan(build_training_set(config), workers=1, progress=False)
        assert found.counts.tolist() == alone.counts.tolist()
        assert found.fingerprint == alone.fingerprint
        assert [path.name for path in tmp_path.glob('*.npz')] == ['whole.npz']

    def test_a_screening_goes_on_elsewhere_from_its_checkpoint(
        self, cluster, engine, tmp_path, monkeypatch
    ):
        """Worker and node process are killed in the middle: the same heads, the same scores."""
        monkeypatch.chdir(tmp_path)
        config, checkpoint = write_screen(tmp_path)
        gate = GateKeeper(tmp_path / 'gate')
        gate.build_into(config, after=6)  # three iterations
        gate.open()

        def screen(work, *where):
            given = ('--losses', 'ce', 'recall', '--iters', 6, '--work-dir', work, *where)
            assert command.run(parse(config, checkpoint, *given)) == 0
            heads = {
                path.parent.parent.name: torch.load(path, weights_only=True)
                for path in (tmp_path / work).glob('runs/*/seed0/head.pth')
            }
            runs = load_results(tmp_path / work)['runs']
            return heads, [(r['method'], r['split'], r['scores']) for r in runs]

        with monkeypatch.context() as patch:
            workers_in_this_process(patch)
            heads, scores = screen('undisturbed')
        gate.close()

        def kill_in_the_middle():
            kill(*gate.waiting(0, after=6))
            gate.open()

        killer = threading.Thread(target=kill_in_the_middle)
        killer.start()
        found, found_scores = screen('on_ray', '--engine', 'ray', '--address', cluster.address)
        killer.join()
        first, second = gate.loaded().values()
        assert (first, second) == (7, 6), 'it began again from nothing'
        assert found.keys() == heads.keys() == {'ce', 'recall'}
        for method, head in heads.items():
            for name, value in head.items():
                assert torch.equal(value, found[method][name]), (method, name)
        assert found_scores == scores
