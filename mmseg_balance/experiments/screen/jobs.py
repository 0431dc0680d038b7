"""Heads to train with their hashes and folders, and which of them see the same batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmseg_balance.experiments.plan import Run
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen.plan import (
    HeadRun,
    head_config,
    learns_what_to_show,
    run_hash,
)


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
