"""Passes over the data: a worker process for each group of heads, where an engine says."""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mmseg_balance.experiments.engines import Engine, Place
from mmseg_balance.experiments.progress import number_of
from mmseg_balance.experiments.results import read_json, write_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen.jobs import HeadJob, group_jobs
from mmseg_balance.experiments.screen.plan import PROGRESS, HeadRun
from mmseg_balance.runtime.locks import file_lock
from mmseg_balance.runtime.processes import Launcher, last_words, run_process

WORKER = 'mmseg_balance.experiments.screen.worker'


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
                with file_lock(_lock_path(self.work_dir, path.parent.name), wait=False) as lock:
                    if lock is not None:  # only scores are left to do, and nobody is at it
                        shutil.rmtree(path.parent, ignore_errors=True)
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
            heads = number_of(len(jobs), 'head')
            self.say(f'{heads}: waiting for the process that is at work on them')
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
        tried_again = not ok and len(jobs) > 1
        self.show(pass_name(jobs), 'end', 0 if tried_again else len(jobs), 0)
        for note in notes:
            self.say(note)
        for job in jobs:
            if not (job.finished or tried_again):
                self.say(f'{job.head_run.name}: FAILED\n{job.folder.state.get("error", "")}')
        return ok


def pass_name(jobs: Sequence[HeadJob]) -> str:
    """Name of a pass's folder, log and lock."""
    return hashlib.sha256(''.join(job.hash for job in jobs).encode()).hexdigest()[:12]


def _lock_path(work_dir: Path, name: str) -> Path:
    return work_dir / 'passes' / f'.{name}.lock'


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
    with file_lock(_lock_path(work_dir, name), wait, place.check) as lock:
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
