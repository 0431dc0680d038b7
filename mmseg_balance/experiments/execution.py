"""Trains and tests every run that is not finished, on this machine or a cluster."""

import shlex
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmengine.config import Config

from mmseg_balance.experiments.engines import Engine, LocalEngine, Place
from mmseg_balance.experiments.merging import add_measures, dev_test, fingerprint, merge_run
from mmseg_balance.experiments.plan import Run
from mmseg_balance.experiments.progress import Progress
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.training_log import last_step
from mmseg_balance.runtime.processes import Launcher, last_words, run_process

SECONDS_PER_SAVE = 5.0


@dataclass(frozen=True)
class Job:
    """A run with its config and its folder."""

    run: Run
    config: Config
    hash: str
    base_hash: str
    folder: RunFolder
    dev: Config | None = None  # scores dev

    @property
    def iterations(self) -> int | None:
        """None where the config counts epochs: how long one is depends on data and sampler."""
        return self.config.train_cfg.get('max_iters')

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def about(self) -> dict:
        """What its state says before anything is done."""
        run = self.run
        return dict(
            method=run.method,
            loss=run.loss.name,
            sampler=run.sampler.name,
            seed=run.seed,
            settings=dict(run.settings),
            trial=run.trial,
            hash=self.hash,
            base_hash=self.base_hash,
            iterations=self.iterations,
        )

    @property
    def finished(self) -> bool:
        return self.folder.is_finished(self.hash)


def make_jobs(
    runs: Sequence[Run], base: Config, work_dir: Path, images: list[str], dev: bool = False
) -> list[Job]:
    """Makes each run's config (with ``dev`` also to score dev); nothing is written, so a mistake costs nothing."""
    base_hash = fingerprint(base, without_loss=True)
    jobs = []
    for run in runs:
        folder = RunFolder(work_dir / run.folder)
        config = merge_run(base, run)
        run_hash = fingerprint(config)
        add_measures(config, folder, images)
        scores_dev = dev_test(config, folder) if dev else None
        jobs.append(Job(run, config, run_hash, base_hash, folder, scores_dev))
    return jobs


def execute(
    jobs: Sequence[Job],
    launcher: Launcher,
    work_dir: Path,
    progress: Progress,
    publish: Callable[[], None] = lambda: None,
    engine: Engine | None = None,
) -> None:
    """Brings every job to its end; a failed one is noted and the others go on.

    A job that another process is at work on is left to it until the others are done.

    Args:
        publish: called after each job but the last, to report on what there is.
        engine: where the jobs run (default: here, one after another).
    """
    engine = engine or LocalEngine()
    waiting = []
    for job in jobs:
        if job.finished:
            progress.skip(job.name)
        else:
            waiting.append(job)
    taken = Watch(waiting, work_dir, progress, publish).run(engine, launcher)
    for job in taken:
        progress.say(f'{job.name}: waiting for the process that is at work on it')
    Watch(taken, work_dir, progress, publish).run(engine, launcher, wait=True)


class Watch:
    """Shows what the folders of jobs at work say, wherever these run, and how each ends.

    Args:
        jobs: the jobs to run.
        work_dir: of the comparison.
        progress: where it is shown.
        publish: see :func:`execute`.
    """

    def __init__(
        self, jobs: Sequence[Job], work_dir: Path, progress: Progress, publish: Callable[[], None]
    ) -> None:
        self.jobs, self.work_dir = jobs, work_dir
        self.progress, self.publish = progress, publish
        self.session = uuid.uuid4().hex
        self.left = dict(enumerate(jobs))
        self.notes: dict[int, str] = {}
        self.taken: list[Job] = []

    def run(self, engine: Engine, launcher: Launcher, wait: bool = False) -> list[Job]:
        """Runs the jobs and returns those that other processes have."""
        work_dir = self.work_dir.absolute()
        engine.run(
            [partial(run_job, job, launcher, work_dir, self.session, wait) for job in self.jobs],
            self.look,
            self.end,
        )
        return self.taken

    def look(self) -> None:
        for number in list(self.left):
            self._look_at(number)

    def _look_at(self, number: int) -> None:
        job = self.left[number]
        state = job.folder.state
        if state.get('session') != self.session:
            return
        if number not in self.notes:
            self.progress.start(job.name, job.iterations)
            self.notes[number] = ''
        if state['note'] != self.notes[number]:
            self.notes[number] = state['note']
            self.progress.say(f'{job.name}: {state["note"]}')
        if state.get('stage') in ('test', 'dev'):
            self.progress.testing(job.name)
        else:
            self.progress.update(job.name, last_step(job.folder.train_dir))

    def end(self, number: int, outcome: str | BaseException) -> None:
        """``outcome``: what :func:`run_job` returned, or what was raised in its place."""
        job = self.left[number]
        if outcome in ('taken', 'kept'):
            self.left.pop(number)
            if outcome == 'taken':
                self.taken.append(job)
            else:
                self.progress.skip(job.name)
            return
        if isinstance(outcome, Exception):
            job.folder.note_failure(outcome, job.about)
        self._look_at(number)
        self.left.pop(number)
        self.progress.end(job.name, outcome == 'done', job.folder.state.get('error', ''))
        if self.left:
            self.publish()


def run_job(
    job: Job, launcher: Launcher, work_dir: Path, session: str, wait: bool, place: Place
) -> str:
    """Trains and tests a job, from where an earlier try left it.

    Args:
        job: the job.
        launcher: how its processes are started.
        work_dir: of the comparison.
        session: noted in the job's state, so that the driver sees that it has begun.
        wait: for another process that has the job.
        place: of the engine.

    Returns:
        ``done``, ``failed``, ``kept`` (finished meanwhile) or ``taken`` (another process has it).
    """
    with job.folder.lock(wait, place.check) as lock:
        if lock is None:
            return 'taken'
        if job.finished:
            return 'kept' if job.folder.state.get('session') != session else 'done'
        _prepare(job, work_dir, session)
        at = Stage(job, launcher, lock, place)
        if not (_train(at) and _test(at)):
            return 'failed'
        job.folder.finish(job.hash)
    return 'done'


def _prepare(job: Job, work_dir: Path, session: str) -> None:
    """Writes the run's config; a run with another config is set aside first."""
    folder, note = job.folder, ''
    before = folder.state.get('hash')
    if before is not None and before != job.hash:
        target = folder.set_aside(work_dir / 'replaced')
        note = f'its config changed; the old run is now {target}'
    folder.path.mkdir(parents=True, exist_ok=True)
    job.config.dump(str(folder.config))
    if job.dev is not None:
        job.dev.dump(str(folder.dev_config))
    folder.update_state(**job.about, error='', note=note, stage='train', session=session)


@dataclass(frozen=True)
class Stage:
    """A job at work: how its processes are started, the lock they hold, where they run."""

    job: Job
    launcher: Launcher
    lock: int
    place: Place

    def run(self, stage: str, command: list[str]) -> bool:
        """Runs one process; keeps its time (of this and earlier tries), command and error."""
        folder = self.job.folder
        earlier = folder.state.get('seconds', {})
        started = saved = time.monotonic()

        def keep_time() -> None:
            spent = earlier.get(stage, 0.0) + time.monotonic() - started
            folder.update_state(seconds={**earlier, stage: spent})

        def tick() -> None:
            nonlocal saved
            self.place.check()
            if time.monotonic() - saved > SECONDS_PER_SAVE:
                saved = time.monotonic()
                keep_time()

        commands = {**folder.state.get('commands', {}), stage: shlex.join(command)}
        folder.update_state(commands=commands, stage=stage)
        try:
            status = run_process(
                command,
                folder.log(stage),
                tick,
                keep_open=[self.lock],
                environment=self.place.environment,
            )
        finally:
            keep_time()
        if status != 0:
            folder.update_state(
                error=f'{stage} ended with status {status}:\n{last_words(folder.log(stage))}'
            )
        return status == 0


def _train(at: Stage) -> bool:
    folder = at.job.folder
    if folder.state.get('trained'):
        return True
    arguments = [folder.config, '--work-dir', folder.train_dir]
    if any(folder.train_dir.glob('*.pth')):  # MMEngine names a checkpoint only after writing it
        arguments.append('--resume')
        last = folder.last_checkpoint()
        folder.update_state(note=f'goes on from {last.name if last else "its last checkpoint"}')
    elif folder.train_dir.exists():
        shutil.rmtree(folder.train_dir)
    ok = at.run('train', at.launcher.command('train', *arguments))
    if ok:
        folder.update_state(trained=True)
    return ok


def _test(at: Stage) -> bool:
    folder = at.job.folder
    checkpoint = folder.last_checkpoint()
    if checkpoint is None:
        folder.update_state(
            error=f'test: the training left no checkpoint in {folder.train_dir}; '
            'does default_hooks.checkpoint save one?',
            trained=False,
        )
        return False
    given = (checkpoint, '--work-dir', folder.test_dir)
    configs = {'test': folder.config, 'dev': folder.dev_config if at.job.dev else None}
    stages = [split for split in at.job.run.splits if configs[split]]
    return all(
        at.run(stage, at.launcher.command('test', configs[stage], *given)) for stage in stages
    )
