"""Runs are skipped, resumed, repeated and reported as they should be; trainings are stand-ins."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from rich.console import Console

from mmseg_balance.experiments import execution
from mmseg_balance.experiments.collection import collect
from mmseg_balance.experiments.execution import Job, execute, make_jobs
from mmseg_balance.experiments.plan import Ingredient, Run
from mmseg_balance.experiments.progress import Progress
from mmseg_balance.experiments.results import write_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.runtime.processes import Launcher, run_process

# Notes its arguments, behaves as the loss in the config says, and leaves a checkpoint.
TRAIN = """
import pathlib, re, sys, time
config, work_dir = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
loss = re.search(r"loss_decode=\\[\\s*dict\\(type='(\\w+)'", config.read_text()).group(1)
work_dir.mkdir(parents=True, exist_ok=True)
with open(config.parent.parent / 'calls.txt', 'a') as calls:
    calls.write('train' + (' --resume' if '--resume' in sys.argv else '') + '\\n')
if loss != 'NoCheckpoint':
    (work_dir / 'iter_2.pth').write_text('')
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_2.pth'))
if loss == 'Slow' and '--resume' not in sys.argv:
    time.sleep(60)
if loss == 'Broken':
    sys.exit('ValueError: p = 0.5 is not allowed')
"""
TEST = """
import pathlib, sys
config = pathlib.Path(sys.argv[1])
assert pathlib.Path(sys.argv[2]).is_file()
with open(config.parent.parent / 'calls.txt', 'a') as calls:
    calls.write('test\\n')
"""


class StandIns:
    """Launches a script of a folder in place of a verb."""

    def __init__(self, scripts: Path) -> None:
        self.scripts = scripts

    def command(self, verb: str, *arguments: str | Path) -> list[str]:
        return [sys.executable, str(self.scripts / f'{verb}.py'), *map(str, arguments)]


class Comparison:
    """A comparison whose losses are named after how their training behaves."""

    def __init__(self, folder: Path) -> None:
        self.tools, self.work_dir, self.losses = (folder / x for x in ('tools', 'work', 'losses'))
        for path in (self.tools, self.losses):
            path.mkdir()
        (self.tools / 'train.py').write_text(TRAIN)
        (self.tools / 'test.py').write_text(TEST)

    def jobs(self, *losses: str, iterations: int = 2):
        base = Config(
            dict(
                model=dict(decode_head=dict(type='H', loss_decode=[dict(type='A')])),
                train_cfg=dict(max_iters=iterations),
                train_dataloader=dict(batch_size=1),
            )
        )
        runs = []
        for name in losses:
            path = self.losses / f'{name}.py'
            path.write_text(f"loss_decode = [dict(type='{name}')]")
            runs.append(Run(Ingredient(name, path), Ingredient('config', None), 0))
        return make_jobs(runs, base, self.work_dir, [])

    def run(self, *losses: str, **options) -> str:
        screen = io.StringIO()
        jobs = self.jobs(*losses, **options)
        with Progress(len(jobs), Console(file=screen, width=200)) as progress:
            execute(jobs, StandIns(self.tools), self.work_dir, progress)
        return screen.getvalue()

    def folder(self, loss: str) -> RunFolder:
        return RunFolder(self.work_dir / 'runs' / loss.lower() / 'seed0')

    def calls(self, loss: str) -> list[str]:
        return (self.folder(loss).path.parent / 'calls.txt').read_text().splitlines()


@pytest.fixture
def comparison(tmp_path) -> Comparison:
    return Comparison(tmp_path)


def test_a_run_is_trained_and_tested_once(comparison):
    said = comparison.run('Good')
    assert comparison.calls('Good') == ['train', 'test']
    assert 'Good, seed 0: done in' in said
    assert 'Good, seed 0: finished before, kept' in comparison.run('Good')
    assert comparison.calls('Good') == ['train', 'test']
    state = comparison.folder('Good').state
    assert set(state['seconds']) == {'train', 'test'}
    assert all(0 < s < 30 for s in state['seconds'].values())
    assert str(comparison.folder('Good').config) in state['commands']['train']


def test_a_failed_run_is_told_the_others_go_on_and_it_is_tried_again(comparison):
    said = comparison.run('Broken', 'Good')
    assert 'Broken, seed 0: FAILED' in said
    assert 'ValueError: p = 0.5 is not allowed' in said
    assert 'Good, seed 0: done' in said
    assert 'status 1' in comparison.folder('Broken').state['error']
    comparison.run('Broken', 'Good')
    assert comparison.calls('Broken') == ['train', 'train --resume']
    assert comparison.calls('Good') == ['train', 'test']


def test_a_training_without_a_checkpoint_is_a_failure(comparison):
    assert 'left no checkpoint' in comparison.run('NoCheckpoint')
    assert comparison.folder('NoCheckpoint').finished is None


def test_a_changed_config_runs_again_and_the_old_run_is_kept(comparison):
    comparison.run('Good')
    before = comparison.folder('Good').finished['hash']
    said = comparison.run('Good', iterations=3)
    assert 'its config changed' in said
    assert comparison.calls('Good') == ['train', 'test'] * 2
    assert comparison.folder('Good').finished['hash'] != before
    assert RunFolder(comparison.work_dir / 'replaced' / 'good-seed0-1').finished['hash'] == before


def interrupt_slow(comparison, monkeypatch):
    """Ctrl-C as soon as the training has a checkpoint."""

    def interrupted(progress, name, step):
        if comparison.folder('Slow').last_checkpoint():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, 'update', interrupted)
        with pytest.raises(KeyboardInterrupt):
            comparison.run('Slow')


def test_an_interrupted_run_ends_its_training_and_goes_on_from_the_checkpoint(
    comparison, monkeypatch
):
    interrupt_slow(comparison, monkeypatch)
    assert comparison.folder('Slow').state['seconds']['train'] > 0
    with comparison.folder('Slow').lock() as lock:
        assert lock is not None, 'the training was left behind'
    assert 'goes on from iter_2.pth' in comparison.run('Slow')
    assert comparison.calls('Slow') == ['train', 'train --resume', 'test']


def test_a_checkpoint_that_is_not_yet_named_is_not_deleted(comparison, monkeypatch):
    """As after a kill between writing the checkpoint and its name: all was trained again."""
    interrupt_slow(comparison, monkeypatch)
    (comparison.folder('Slow').train_dir / 'last_checkpoint').unlink()
    assert 'goes on from its last checkpoint' in comparison.run('Slow')
    assert comparison.calls('Slow') == ['train', 'train --resume', 'test']


def test_a_tested_training_is_not_trained_again(comparison):
    comparison.run('Good')
    (comparison.folder('Good').path / 'finished.json').unlink()  # killed before the marker
    comparison.run('Good')
    assert comparison.calls('Good') == ['train', 'test', 'test']


def test_what_another_process_is_at_work_on_comes_last(comparison, monkeypatch):
    """A training that outlived a killed comparison holds the lock that it inherited."""
    folder = comparison.folder('Good')
    with folder.lock() as lock:
        other = subprocess.Popen(
            [sys.executable, '-c', 'import time; time.sleep(2)'], pass_fds=[lock]
        )
    said = comparison.run('Good', 'Better')
    assert other.wait() == 0
    assert said.index('Better, seed 0: done') < said.index('waiting for the process')
    assert 'Good, seed 0: done' in said


def test_a_run_that_could_not_begin_is_reported_as_failed(comparison, monkeypatch):
    """Its state was an error alone, and the report ended in a KeyError for ever."""

    def full(job, work_dir, session):
        raise OSError('the disk is full')

    with monkeypatch.context() as patch:
        patch.setattr(execution, '_prepare', full)
        comparison.run('Good')
    (job,) = comparison.jobs('Good')
    (run,) = collect(comparison.work_dir, job.base_hash)['unfinished']
    assert (run['method'], run['seed'], run['error']) == ('Good', 0, 'OSError: the disk is full')
    write_json(job.folder.path / 'state.json', dict(error='of an earlier version'))
    assert collect(comparison.work_dir, job.base_hash)['left_out'] == ['good, seed0']
    assert 'done in' in comparison.run('Good')


def test_a_failure_from_outside_does_not_rename_an_older_run(comparison):
    """The state of a run with another config keeps its hash, which says that it is another's."""
    comparison.run('Good')
    folder = comparison.folder('Good')
    before = folder.state['hash']
    (job,) = comparison.jobs('Good', iterations=3)
    folder.note_failure(OSError('no space'), job.about)
    assert (folder.state['hash'], folder.state['error']) == (before, 'OSError: no space')


@pytest.mark.parametrize('stubborn', [False, True])
def test_no_process_is_left_behind(tmp_path, monkeypatch, stubborn):
    """Children of the process end too, also those that ignore the polite signal."""
    monkeypatch.setattr('mmseg_balance.runtime.processes.SECONDS_TO_END', 0.5)
    numbers = tmp_path / 'pids'
    child = (
        f'import signal, time; {stubborn} and signal.signal(15, signal.SIG_IGN); '
        f'open({str(numbers)!r}, "a").write("x"); time.sleep(60)'
    )
    script = (
        f'import subprocess, sys, signal; {stubborn} and signal.signal(15, signal.SIG_IGN); '
        f'p = subprocess.Popen([sys.executable, "-c", {child!r}]); '
        f'open({str(tmp_path / "child")!r}, "w").write(str(p.pid)); p.wait()'
    )

    def stop_when_started():
        if numbers.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_process(
            [sys.executable, '-c', script],
            tmp_path / 'log',
            stop_when_started,
            seconds_per_tick=0.1,
        )
    assert ends(int((tmp_path / 'child').read_text()))


def ends(pid: int) -> bool:
    """Whether a process is gone (or a zombie that nobody has collected) within a minute."""
    for _ in range(600):
        try:
            os.kill(pid, 0)
            state = Path(f'/proc/{pid}/stat')
            if state.exists() and state.read_text().rsplit(')', 1)[1].split()[0] == 'Z':
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    return False


def test_a_training_in_epochs_shows_no_share_of_an_unknown_length():
    """Its iterations were once counted against its epochs: done, and no time left, at once."""
    config = Config(dict(train_cfg=dict(by_epoch=True, max_epochs=3)))
    job = Job(Run(Ingredient('ce', None), Ingredient('config', None), 0), config, '', '', None)
    assert job.iterations is None
    with Progress(2, Console(file=io.StringIO())) as progress:
        progress.start(job.name, job.iterations)
        progress.update(job.name, 50)
        assert progress.at_work[job.name].share == 0
        assert progress.left.estimate([(10.0, 0.0)]) is None
        progress.testing(job.name)
        progress.end(job.name, True, '')


def test_launchers(monkeypatch):
    monkeypatch.delenv('SLURM_CPUS_PER_TASK', raising=False)
    monkeypatch.setenv('SRUN_ARGS', '--partition "a b"')
    plain = Launcher().command('train', 'c.py', '--resume')
    assert plain == [sys.executable, '-m', 'mmseg_balance', 'train', 'c.py', '--resume']
    torchrun = Launcher('pytorch', 4).command('train', 'c.py')
    assert torchrun[1:3] == ['-m', 'torch.distributed.run']
    assert '--nproc_per_node=4' in torchrun
    assert torchrun[-2:] == ['--launcher', 'pytorch']
    slurm = Launcher('slurm', 8).command('train', 'c.py')
    assert slurm[:4] == ['srun', '--ntasks=8', '--partition', 'a b']


def test_a_task_of_srun_gets_the_cores_of_the_allocation(monkeypatch):
    """Since Slurm 22.05 srun does not go by ``sbatch --cpus-per-task``: one core for loading."""
    monkeypatch.setenv('SLURM_CPUS_PER_TASK', '16')
    monkeypatch.setenv('SRUN_ARGS', '--cpus-per-task=4')
    command = Launcher('slurm', 8).command('train', 'c.py')
    assert command[1:4] == ['--ntasks=8', '--cpus-per-task=16', '--cpus-per-task=4']
