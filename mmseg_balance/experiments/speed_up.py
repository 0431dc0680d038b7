"""The trainings of a comparison one after another against several at a time."""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.console import Console

from mmseg_balance.experiments.compare import CONFIGS, open_data
from mmseg_balance.experiments.engines import LocalEngine
from mmseg_balance.experiments.execution import execute, make_jobs
from mmseg_balance.experiments.merging import prepare_base
from mmseg_balance.experiments.plan import Run, plan_runs
from mmseg_balance.experiments.progress import Progress
from mmseg_balance.runtime.processes import Launcher

BASELINE = 'one at a time'
CONFIG = CONFIGS / 'deeplabv3_ce_street_scenes.py'


def seconds_of(base: Config, runs: Sequence[Run], jobs: int, threads: int | None) -> float:
    """Time of a comparison from nothing, training and test of every run.

    Args:
        base: its config.
        runs: its runs.
        jobs: runs at a time.
        threads: of each run; None: PyTorch chooses.

    Raises:
        RuntimeError: a run failed; the message has the end of its log.
    """
    before = os.environ.pop('OMP_NUM_THREADS', None)
    if threads is not None:
        os.environ['OMP_NUM_THREADS'] = str(threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = make_jobs(runs, base, Path(folder), [])
            said = io.StringIO()
            started = time.monotonic()
            with Progress(len(made), Console(file=said), slots=jobs) as progress:
                execute(made, Launcher(), Path(folder), progress, engine=LocalEngine(jobs))
            seconds = time.monotonic() - started
            if not all(job.finished for job in made):
                raise RuntimeError(said.getvalue())
    finally:
        os.environ.pop('OMP_NUM_THREADS', None)
        if before is not None:
            os.environ['OMP_NUM_THREADS'] = before
    return seconds


def measure(args: argparse.Namespace) -> list[dict]:
    """One row for each way, the fastest of the rounds.

    The baseline has as many threads for a run as each of several at a time. The last row is what a
    run alone could do with all of the cores.
    """
    init_default_scope('mmseg')
    base = prepare_base(args.config, iters=args.iters)
    for split in ('train', 'test'):  # street scenes are rendered now, not by a run
        open_data(base, split)
    runs = plan_runs(args.losses, ['config'], args.seeds, [CONFIGS])
    ways = {
        BASELINE: (1, args.threads),
        f'{args.jobs} at a time': (args.jobs, args.threads),
        'one at a time, all cores': (1, None),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeat):
        for name, (jobs, threads) in ways.items():
            times[name].append(seconds_of(base, runs, jobs, threads))
    return [
        {
            'runs': name,
            'threads of a run': 'all' if ways[name][1] is None else str(ways[name][1]),
            'seconds': min(seconds),
            'speed-up': min(times[BASELINE]) / min(seconds),
        }
        for name, seconds in times.items()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance benchmark jobs``."""
    parser.add_argument('--config', default=str(CONFIG), help='what is trained')
    parser.add_argument(
        '--losses', nargs='+', default=['ce', 'lmp'], metavar='LOSS', help='as in compare'
    )
    parser.add_argument(
        '--seeds', nargs='+', type=int, default=[0, 1], metavar='SEED', help='as in compare'
    )
    parser.add_argument('--iters', type=int, default=60, help='of each training')
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time')
    parser.set_defaults(repeat=1)  # a round takes minutes


def run(args: argparse.Namespace) -> list[dict]:
    """One table."""
    title = (
        f'{len(args.losses) * len(args.seeds)} runs of {args.iters} iterations, '
        f'{Path(args.config).stem}'
    )
    return [dict(title=title, rows=measure(args))]
