"""Trains and tests every run that is not finished, one after another."""

import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmseg_balance.experiments.merging import add_measures, dev_test, fingerprint, merge_run
from mmseg_balance.experiments.plan import Run
from mmseg_balance.experiments.processes import Launcher, last_words, run_process
from mmseg_balance.experiments.progress import Progress
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.training_log import last_step

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
    def iterations(self) -> int:
        loop = self.config.train_cfg
        return loop.get('max_iters') or loop.get('max_epochs') or 1

    @property
    def name(self) -> str:
        return f'{self.run.method}, seed {self.run.seed}'


def make_jobs(runs: Sequence[Run], base: Config, work_dir: Path, images: list[str]) -> list[Job]:
    """Makes each run's config; nothing is written yet, so a mistake costs nothing."""
    base_hash = fingerprint(base, without_loss=True)
    jobs = []
    for run in runs:
        folder = RunFolder(work_dir / run.folder)
        config = merge_run(base, run)
        run_hash = fingerprint(config)
        add_measures(config, folder, images)
        jobs.append(Job(run, config, run_hash, base_hash, folder, dev_test(config, folder)))
    return jobs


def execute(
    jobs: Sequence[Job],
    launcher: Launcher,
    work_dir: Path,
    progress: Progress,
    publish: Callable[[], None] = lambda: None,
) -> None:
    """Brings every job to its end; a failed one is noted and the others go on.

    A job that another process is at work on is left to it until the others are done.

    Args:
        publish: called after each job but the last, to report on what there is.
    """
    waiting = [job for job in jobs if not _skip(job, progress)]
    taken = []
    for job in waiting:
        if not _try(job, launcher, work_dir, progress, wait=False):
            taken.append(job)
        elif job is not waiting[-1]:
            publish()
    for job in taken:
        progress.say(f'{job.name}: waiting for the process that is at work on it')
        _try(job, launcher, work_dir, progress, wait=True)


def _skip(job: Job, progress: Progress) -> bool:
    if not job.folder.is_finished(job.hash):
        return False
    progress.skip(job.name)
    return True


def _try(job: Job, launcher: Launcher, work_dir: Path, progress: Progress, wait: bool) -> bool:
    """Runs the job; False when another process has it."""
    with job.folder.lock(wait) as lock:
        if lock is None:
            return False
        if _skip(job, progress):
            return True
        _prepare(job, work_dir, progress)
        progress.start(job.name, job.iterations)
        ok = _train(job, launcher, lock, progress) and _test(job, launcher, lock, progress)
        if ok:
            job.folder.finish(job.hash)
        progress.end(ok, job.folder.state.get('error', ''))
    return True


def _prepare(job: Job, work_dir: Path, progress: Progress) -> None:
    """Writes the run's config; a run with another config is set aside first."""
    folder = job.folder
    before = folder.state.get('hash')
    if before is not None and before != job.hash:
        target = folder.set_aside(work_dir / 'replaced')
        progress.say(f'{job.name}: its config changed; the old run is now {target}')
    folder.path.mkdir(parents=True, exist_ok=True)
    job.config.dump(str(folder.config))
    if job.dev is not None:
        job.dev.dump(str(folder.dev_config))
    run = job.run
    folder.update_state(
        method=run.method,
        loss=run.loss.name,
        sampler=run.sampler.name,
        seed=run.seed,
        hash=job.hash,
        base_hash=job.base_hash,
        iterations=job.iterations,
        error='',
    )


def _train(job: Job, launcher: Launcher, lock: int, progress: Progress) -> bool:
    folder = job.folder
    if folder.state.get('trained'):
        return True
    arguments = [folder.config, '--work-dir', folder.train_dir]
    if folder.last_checkpoint() is not None:
        arguments.append('--resume')
        progress.say(f'{job.name}: goes on from {folder.last_checkpoint().name}')
    elif folder.train_dir.exists():
        shutil.rmtree(folder.train_dir)
    command = launcher.command('train.py', *arguments)
    ok = _stage(job, 'train', command, lock, lambda: progress.update(last_step(folder.train_dir)))
    if ok:
        folder.update_state(trained=True)
    return ok


def _test(job: Job, launcher: Launcher, lock: int, progress: Progress) -> bool:
    folder = job.folder
    checkpoint = folder.last_checkpoint()
    if checkpoint is None:
        folder.update_state(
            error=f'test: the training left no checkpoint in {folder.train_dir}; '
            'does default_hooks.checkpoint save one?',
            trained=False,
        )
        return False
    stages = {'test': folder.config}
    if job.dev is not None:
        stages['dev'] = folder.dev_config
    return all(
        _stage(
            job,
            stage,
            launcher.command('test.py', config, checkpoint, '--work-dir', folder.test_dir),
            lock,
            progress.testing,
        )
        for stage, config in stages.items()
    )


def _stage(
    job: Job, stage: str, command: list[str], lock: int, on_tick: Callable[[], None]
) -> bool:
    """Runs one process; keeps its time (of this and earlier tries), command and error."""
    folder = job.folder
    earlier = folder.state.get('seconds', {})
    started = time.monotonic()
    saved = started

    def keep_time() -> None:
        spent = earlier.get(stage, 0.0) + time.monotonic() - started
        folder.update_state(seconds={**earlier, stage: spent})

    def tick() -> None:
        nonlocal saved
        on_tick()
        if time.monotonic() - saved > SECONDS_PER_SAVE:
            saved = time.monotonic()
            keep_time()

    commands = {**folder.state.get('commands', {}), stage: shlex.join(command)}
    folder.update_state(commands=commands)
    try:
        status = run_process(command, folder.log(stage), tick, keep_open=[lock])
    finally:
        keep_time()
    if status != 0:
        folder.update_state(
            error=f'{stage} ended with status {status}:\n{last_words(folder.log(stage))}'
        )
    return status == 0
