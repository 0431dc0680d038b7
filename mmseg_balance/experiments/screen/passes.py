"""Heads that see the same batches, grouped; a worker process for each group, where an engine says."""

import contextlib
import hashlib
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmengine.config import Config

from mmseg_balance.experiments.engines import Engine, Place
from mmseg_balance.experiments.plan import Run
from mmseg_balance.experiments.results import read_json, write_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen.plan import (
    HeadRun,
    head_config,
    learns_what_to_show,
    run_hash,
)
from mmseg_balance.runtime.locks import file_lock
from mmseg_balance.runtime.processes import Launcher, last_words, run_process

WORKER = 'mmseg_balance.experiments.screen.worker'
PROGRESS = 'progress.json'  # how far a worker is


@dataclass(frozen=True)
class HeadJob:
    """A head with its hash and folder.

    Args:
        alone: Whether it cannot share batches with others.
        decisions: Rules that it is scored with.
    """

    head_run: HeadRun
    hash: str
    folder: RunFolder
    alone: bool
    decisions: Sequence[str]

    @property
    def run(self) -> Run:
        return self.head_run.run

    @property
    def finished(self) -> bool:
        """Whether it is trained, and scored with every rule."""
        return self.folder.is_finished(self.hash) and all(
            (self.folder.scores(split, rule) / 'calibration.json').is_file()
            for split in self.head_run.splits
            for rule in self.decisions
        )

    def about(self, settings: dict) -> dict:
        """What its state says before anything is done; ``settings`` as of :class:`Passes`."""
        run, trained = self.run, self.head_run.trained
        return dict(
            method=self.head_run.method,
            loss=run.loss.name if trained else '',
            sampler=run.sampler.name,
            seed=run.seed if trained else None,
            settings=dict(run.settings),
            trial=run.trial,
            hash=self.hash,
            base_hash=settings['base_hash'],
            iterations=settings['iterations'] if trained else 0,
            decisions=settings['decisions'],
        )

    @property
    def group(self) -> tuple:
        """Equal for heads that see the same batches."""
        run = self.head_run.run
        alone = self.hash if self.alone or not self.head_run.trained else ''
        return (run.sampler.key, run.seed, run.trial is None, alone)


def make_jobs(
    head_runs: Sequence[HeadRun],
    base: Config,
    work_dir: Path,
    origin: str,
    decisions: Sequence[str],
) -> list[HeadJob]:
    """Make each head's config and hash; nothing is written, so a mistake costs nothing."""
    jobs = []
    for head_run in head_runs:
        config = head_config(base, head_run)
        jobs.append(
            HeadJob(
                head_run,
                run_hash(config, head_run, origin),
                RunFolder(work_dir / head_run.folder),
                head_run.trained and learns_what_to_show(config),
                decisions,
            )
        )
    return jobs


def group_jobs(jobs: Sequence[HeadJob], most: int, workers: int) -> list[list[HeadJob]]:
    """Split jobs into passes: of one group, at most ``most`` heads, a number that fills workers.

    Convention: groups are cut into parts of nearly equal size, as many from each; the number of
    parts is raised until they make whole rounds of ``workers`` passes, where that leaves no part
    with fewer than half a dozen heads.
    """
    groups: dict[tuple, list[HeadJob]] = {}
    for job in jobs:
        groups.setdefault(job.group, []).append(job)
    passes = []
    for group in groups.values():
        parts = math.ceil(len(group) / most)
        if len(group) // (parts + 1) >= 6 and (parts * len(groups)) % workers:
            parts += 1
        size = math.ceil(len(group) / parts)
        passes += [group[i : i + size] for i in range(0, len(group), size)]
    return sorted(passes, key=len, reverse=True)


class Passes:
    """Hands passes to an engine, and shows how far they are by what they leave on disk.

    Args:
        work_dir: Of the screening.
        launcher: How a worker is started.
        settings: What every worker is told: config, checkpoint, head, decisions, images.
        engine: Where passes run.
        heads: Most heads in a pass.
        show: Called often with a pass's name, stage, amount done and total, or with its end.
        say: Takes a line for the user.
    """

    def __init__(
        self,
        work_dir: Path,
        launcher: Launcher,
        settings: dict,
        engine: Engine,
        heads: int,
        show: Callable[..., None],
        say: Callable[[str], None],
    ) -> None:
        self.work_dir, self.launcher, self.settings = work_dir, launcher, settings
        self.engine, self.heads, self.show, self.say = engine, heads, show, say

    def run(self, jobs: Sequence[HeadJob], publish: Callable[[], None]) -> None:
        """Bring every job to its end; a failed one is noted in its folder, the others go on.

        A pass that could not even be started with all of its heads is tried again head by head.

        Args:
            jobs: The heads.
            publish: Called when passes have ended and others go on, to report on what there is.
        """
        waiting = [job for job in jobs if not job.finished]
        passes = self._interrupted(waiting)
        taken = {id(job) for part in passes for job in part}
        passes += group_jobs(
            [job for job in waiting if id(job) not in taken], self.heads, self.engine.slots
        )
        failed = self._run_all(passes, publish)
        again = [[job] for part in failed if len(part) > 1 for job in part]
        if again:
            self.say(f'{len(again)} heads are tried one by one, since their process failed')
            self._run_all(again, publish)

    def _interrupted(self, jobs: Sequence[HeadJob]) -> list[list[HeadJob]]:
        """Passes that an earlier call left in the middle: they go on with the same heads."""
        by_hash = {(job.hash, job.head_run.folder): job for job in jobs}
        found, used = [], set()
        for path in sorted(self.work_dir.glob('passes/*/pass.json')):
            content = read_json(path, {})
            runs = [HeadRun.from_dict(run).folder for run in content.get('runs', [])]
            keys = list(zip(content.get('hashes', []), runs, strict=True))
            folders = [(RunFolder(self.work_dir / run), hash_) for hash_, run in keys]
            if all(f.is_finished(h) or f.state.get('trained') == h for f, h in folders):
                shutil.rmtree(path.parent, ignore_errors=True)  # only scores are left to do
                continue
            same = {k: content.get(k) for k in self.settings} == self.settings
            if keys and same and all(k in by_hash and k not in used for k in keys):
                used.update(keys)
                found.append([by_hash[key] for key in keys])
        return found

    def _run_all(
        self, passes: list[list[HeadJob]], publish: Callable[[], None], wait: bool = False
    ) -> list[list[HeadJob]]:
        """Run the passes; returns those that failed as a whole.

        A pass that another process is at work on is left to it until the others are done.
        """
        left, failed, ended, taken = dict(enumerate(passes)), [], [], []

        def look() -> None:
            for jobs in left.values():
                self._look_at(jobs)
            if ended and left:  # one report for all that ended; the last one is the caller's
                publish()
            ended.clear()

        def end(number: int, outcome: tuple[bool, list[str]] | BaseException | None) -> None:
            jobs = left.pop(number)
            if outcome is None:
                taken.append(jobs)
                return
            ended.append(number)
            if not self._end(jobs, outcome):
                failed.append(jobs)

        for jobs in passes:
            with contextlib.suppress(FileNotFoundError):  # of an earlier call
                (self.work_dir / 'passes' / pass_name(jobs) / PROGRESS).unlink()
        call = partial(run_pass, self.work_dir, self.settings, self.launcher, wait)
        self.engine.run([partial(call, jobs) for jobs in passes], look, end)
        for jobs in taken:
            self.say(f'{len(jobs)} heads: waiting for the process that is at work on them')
        return failed + (self._run_all(taken, publish, wait=True) if taken else [])

    def _look_at(self, jobs: Sequence[HeadJob]) -> None:
        name = pass_name(jobs)
        progress = read_json(self.work_dir / 'passes' / name / PROGRESS)
        if progress:
            self.show(name, progress['stage'], len(jobs), progress['done'] / progress['total'])

    def _end(
        self, jobs: Sequence[HeadJob], outcome: tuple[bool, list[str]] | BaseException
    ) -> bool:
        """Show the end of a pass; whether its worker came to its end."""
        if isinstance(outcome, Exception):
            for job in jobs:
                job.folder.note_failure(outcome, job.about(self.settings))
            outcome = False, []
        elif isinstance(outcome, BaseException):
            raise outcome
        ok, notes = outcome
        self.show(pass_name(jobs), 'end', len(jobs), 0)
        for note in notes:
            self.say(note)
        for job in jobs:
            if not job.finished:
                self.say(f'{job.head_run.name}: FAILED\n{job.folder.state.get("error", "")}')
        return ok


def pass_name(jobs: Sequence[HeadJob]) -> str:
    """Name of a pass's folder, log and lock."""
    return hashlib.sha256(''.join(job.hash for job in jobs).encode()).hexdigest()[:12]


def run_pass(
    work_dir: Path,
    settings: dict,
    launcher: Launcher,
    wait: bool,
    jobs: Sequence[HeadJob],
    place: Place,
) -> tuple[bool, list[str]] | None:
    """Train and score the heads of a pass, from where an earlier try left it.

    Args:
        work_dir: Of the screening.
        settings: See :class:`Passes`.
        launcher: How its worker is started.
        wait: For another process that has the pass.
        jobs: The heads.
        place: Of the engine.

    Returns:
        Whether the worker came to its end, and lines for the user; None where another process has
        the pass.
    """
    name, notes = pass_name(jobs), []
    folder = work_dir / 'passes' / name
    # A worker that outlives the process that started it holds the lock until it ends.
    with file_lock(work_dir / 'passes' / f'.{name}.lock', wait, place.check) as lock:
        if lock is None:
            return None
        if all(job.finished for job in jobs):  # another process has done it meanwhile
            return True, notes
        for job in jobs:
            notes += _prepare(job, settings, work_dir)
        write_json(
            folder / 'pass.json',
            {
                **settings,
                'work_dir': str(work_dir),
                'runs': [job.head_run.to_dict() for job in jobs],
                'hashes': [job.hash for job in jobs],
            },
        )
        log = work_dir / 'logs' / f'{name}.log'
        command = launcher.module_command(WORKER, folder)
        for _ in range(2):  # a worker that was killed goes on from its checkpoint
            status = run_process(command, log, place.check, [lock], environment=place.environment)
            if status >= 0:
                break
        if status != 0:
            error = f'the worker ended with status {status}:\n{last_words(log)}'
            for job in jobs:
                job.folder.update_state(error=error)
        shutil.rmtree(folder, ignore_errors=True)
    return status == 0, notes


def _prepare(job: HeadJob, settings: dict, work_dir: Path) -> list[str]:
    """Write what is known of a head; one with another config is set aside first."""
    notes = []
    if job.folder.state.get('hash') not in (None, job.hash):
        target = job.folder.set_aside(work_dir / 'replaced')
        notes.append(f'{job.head_run.name}: its config changed; the old run is now {target}')
    job.folder.path.mkdir(parents=True, exist_ok=True)
    job.folder.update_state(**job.about(settings), error='')
    return notes
