"""Heads that see the same batches, grouped; a worker process for each group, several at once."""

import contextlib
import hashlib
import math
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

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
    def finished(self) -> bool:
        """Whether it is trained, and scored with every rule."""
        return self.folder.is_finished(self.hash) and all(
            (self.folder.scores(split, rule) / 'calibration.json').is_file()
            for split in self.head_run.splits
            for rule in self.decisions
        )

    @property
    def group(self) -> tuple:
        """Equal for heads that see the same batches."""
        run = self.head_run.run
        alone = self.hash if self.alone or not self.head_run.trained else ''
        return (run.sampler.key, run.seed, self.head_run.trial is None, alone)


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
    """Starts and watches the worker processes.

    Args:
        work_dir: Of the screening.
        launcher: How a worker is started.
        settings: What every worker is told: config, checkpoint, head, decisions, images.
        workers: Processes at once.
        heads: Most heads in a pass.
        show: Called often with a pass's name, stage, amount done and total, or with its end.
    """

    def __init__(
        self,
        work_dir: Path,
        launcher: Launcher,
        settings: dict,
        workers: int,
        heads: int,
        show: Callable[..., None],
        say: Callable[[str], None],
    ) -> None:
        self.work_dir, self.launcher, self.settings = work_dir, launcher, settings
        self.workers, self.heads, self.show, self.say = workers, heads, show, say
        self._stop = threading.Event()

    def run(self, jobs: Sequence[HeadJob], publish: Callable[[], None]) -> None:
        """Bring every job to its end; a failed one is noted in its folder, the others go on.

        A pass that could not even be started with all of its heads is tried again head by head.
        """
        waiting = [job for job in jobs if not job.finished]
        passes = self._interrupted(waiting)
        taken = {id(job) for part in passes for job in part}
        passes += group_jobs(
            [job for job in waiting if id(job) not in taken], self.heads, self.workers
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

    def _run_all(self, passes: list[list[HeadJob]], publish: Callable[[], None]) -> list:
        failed = []
        with ThreadPoolExecutor(self.workers) as pool:
            futures = {pool.submit(self._run_pass, part): part for part in passes}
            left = set(futures)
            try:
                while left:
                    done, left = wait(left, timeout=0.5)
                    for future in done:
                        if not future.result():
                            failed.append(futures[future])
                    # One report for all that ended; the last one is the caller's.
                    if done and left and any(len(futures[f]) for f in done):
                        publish()
            except BaseException:
                self._stop.set()
                for future in left:
                    future.cancel()
                raise
        return failed

    def _run_pass(self, jobs: list[HeadJob]) -> bool:
        """Whether the worker came to its end."""
        name = hashlib.sha256(''.join(job.hash for job in jobs).encode()).hexdigest()[:12]
        folder = self.work_dir / 'passes' / name
        with file_lock(self.work_dir / 'passes' / f'.{name}.lock') as lock:
            if all(job.finished for job in jobs):  # another process has done it meanwhile
                self.show(name, 'end', len(jobs), 0)
                return True
            self._prepare(folder, jobs)
            log = self.work_dir / 'logs' / f'{name}.log'
            command = self.launcher.module_command(WORKER, folder)
            for _ in range(2):  # a worker that was killed goes on from its checkpoint
                status = run_process(command, log, lambda: self._tick(name, folder, jobs), [lock])
                if status >= 0:
                    break
            if status != 0:
                for job in jobs:
                    job.folder.update_state(
                        error=f'the worker ended with status {status}:\n{last_words(log)}'
                    )
            shutil.rmtree(folder, ignore_errors=True)
        self.show(name, 'end', len(jobs), 0)
        for job in jobs:
            if not job.finished:
                self.say(f'{job.head_run.name}: FAILED\n{job.folder.state.get("error", "")}')
        return status == 0

    def _tick(self, name: str, folder: Path, jobs: list[HeadJob]) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        progress = read_json(folder / 'progress.json')
        if progress:
            self.show(name, progress['stage'], len(jobs), progress['done'] / progress['total'])

    def _prepare(self, folder: Path, jobs: list[HeadJob]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for job in jobs:
            state = job.folder.state
            if state.get('hash') not in (None, job.hash):
                target = job.folder.set_aside(self.work_dir / 'replaced')
                self.say(f'{job.head_run.name}: its config changed; the old run is now {target}')
            job.folder.path.mkdir(parents=True, exist_ok=True)
            run = job.head_run.run
            job.folder.update_state(
                method=job.head_run.method,
                loss=run.loss.name if job.head_run.trained else '',
                sampler=run.sampler.name,
                seed=run.seed if job.head_run.trained else None,
                settings=dict(job.head_run.settings),
                trial=job.head_run.trial,
                hash=job.hash,
                base_hash=self.settings['base_hash'],
                iterations=self.settings['iterations'] if job.head_run.trained else 0,
                decisions=self.settings['decisions'],
                error='',
            )
        with contextlib.suppress(FileNotFoundError):
            (folder / 'progress.json').unlink()
        write_json(
            folder / 'pass.json',
            {
                **self.settings,
                'work_dir': str(self.work_dir),
                'runs': [job.head_run.to_dict() for job in jobs],
                'hashes': [job.hash for job in jobs],
            },
        )


def share_cores(workers: int) -> None:
    """Give every worker its share of the cores, unless the user has said how many."""
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // workers)))
