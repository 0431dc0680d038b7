"""Kill a training at random moments, resume it each time, and compare with one left alone.

    python -m tools.soak

20 times SIGKILL, half of them while a checkpoint is being written, on CamVid's small config.
Prints a line a kill and writes work_dirs/soak/soak.json; exit status 1 if anything was lost.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader
from rich.console import Console

from mmseg_balance.runtime.integrity import what_is_damaged

REPOSITORY = Path(__file__).parents[1]
NOT_COMPARED = ('time', 'memory', 'data_time')
MOMENTS = ('saving', 'saving', 'training', 'starting')
ROW = '| {number} | {moment} | {resumed_at} | {last_iteration} | {partial_files} | {newest_whole} |'
HEADER = (
    ROW.format(
        number='kill',
        moment='while',
        resumed_at='went on at',
        last_iteration='killed after',
        partial_files='partial files',
        newest_whole='newest whole checkpoint',
    )
    + '\n|---|---|---|---|---|---|'
)


@dataclass
class Life:
    """From a start of the training to its kill, and what was found on the disk then."""

    number: int
    moment: str
    resumed_at: int | None = None  # None: killed before it had come so far
    last_iteration: int | None = None
    partial_files: int = 0
    damaged: int = 0
    newest_whole: int = 0

    def problems(self, available: int, interval: int) -> list[str]:
        """What went wrong, given the newest whole checkpoint there was when it started."""
        found = []
        if self.damaged:
            found.append(f'{self.damaged} damaged files have the name of a checkpoint')
        if self.resumed_at is not None and self.resumed_at != available:
            found.append(f'went on at {self.resumed_at} though iteration {available} was saved')
        if self.newest_whole < available:
            found.append(f'the checkpoint of iteration {available} is gone')
        if (self.last_iteration or 0) - self.newest_whole > interval:
            found.append(f'iteration {self.last_iteration} was done and {self.newest_whole} saved')
        return [f'kill {self.number}: {problem}' for problem in found]


class Training:
    """tools/train.py in a process group of its own, its output in a file."""

    def __init__(self, args: argparse.Namespace, work_dir: Path, log: Path) -> None:
        self.work_dir, self.log = work_dir, log
        loaders = [
            f'{split}_dataloader.{option}'
            for split in ('train', 'val')
            for option in ('num_workers=0', 'persistent_workers=False')
        ]
        self._command = [
            sys.executable,
            'tools/train.py',
            args.config,
            '--resume',
            '--work-dir',
            str(work_dir),
            '--cfg-options',
            *loaders,
            f'train_cfg.type={args.loop}',
            f'train_cfg.max_iters={args.iterations}',
            f'train_cfg.val_interval={args.iterations}',
            f'default_hooks.checkpoint.interval={args.interval}',
            'default_hooks.logger.interval=1',
            'default_hooks.iteration_seed.type=IterationSeedHook',
        ]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen]:
        """The process; the end of the block is the end of its process group, too."""
        with (
            self.log.open('wb') as file,
            subprocess.Popen(
                self._command,
                cwd=REPOSITORY,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def _found(self, pattern: str) -> int | None:
        steps = re.findall(pattern, self.log.read_text(errors='replace'))
        return int(steps[-1]) if steps else None

    def iteration(self) -> int | None:
        """The last iteration that was logged since the start."""
        return self._found(r'Iter\(train\) \[\s*(\d+)/')

    def resumed_at(self) -> int | None:
        return self._found(r'resumed epoch: \d+, iter: (\d+)')

    def scores(self) -> dict[str, float]:
        """What the last validation found."""
        newest = max(self.work_dir.glob('*/vis_data/scalars.json'), key=os.path.getmtime)
        last = json.loads(newest.read_text().splitlines()[-1])
        return {key: value for key, value in last.items() if key not in NOT_COMPARED}

    def weights(self) -> dict[str, torch.Tensor]:
        path = (self.work_dir / 'last_checkpoint').read_text()
        return CheckpointLoader.load_checkpoint(path, map_location='cpu')['state_dict']


def run_to_the_end(training: Training) -> float:
    """Train undisturbed; the seconds until the first iteration."""
    begin, first = time.monotonic(), None
    with training.running() as process:
        while process.poll() is None:
            if first is None and training.iteration():
                first = time.monotonic() - begin
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f'error: {training.log} ends with status {process.returncode}')
    return first or 0.0


def run_and_kill(
    training: Training, life: Life, rng: random.Random, interval: int, startup: float
) -> None:
    """Start the training, kill its process group at the chosen moment, and look what is left."""
    with training.running() as process:
        if life.moment == 'starting':
            sleep_while_alive(process, rng.uniform(0, startup))
        else:
            wait_for_iterations(training, process, rng.randint(1, interval))
        if life.moment == 'training':
            sleep_while_alive(process, rng.uniform(0, 1))
        if life.moment == 'saving':
            while not any(training.work_dir.glob('*.partial')) and process.poll() is None:
                pass
            time.sleep(rng.uniform(0, 0.02))
        if process.poll() is not None:
            raise SystemExit(
                f'error: {training.log} ends before its kill: --iterations is too '
                'small for so many kills, or the training failed'
            )
        os.killpg(process.pid, signal.SIGKILL)
    steps = {
        path: int(path.stem.removeprefix('iter_')) for path in training.work_dir.glob('iter_*.pth')
    }
    whole = [step for path, step in steps.items() if what_is_damaged(path) is None]
    life.resumed_at, life.last_iteration = training.resumed_at(), training.iteration()
    life.partial_files = len(list(training.work_dir.glob('*.partial')))
    life.damaged, life.newest_whole = len(steps) - len(whole), max(whole, default=0)


def sleep_while_alive(process: subprocess.Popen, seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)


def wait_for_iterations(training: Training, process: subprocess.Popen, number: int) -> None:
    """Until the training has done so many iterations since its start."""
    while process.poll() is None:
        done = training.iteration()
        if done is not None and done - (training.resumed_at() or 0) >= number:
            return
        time.sleep(0.02)


def differences(undisturbed: Training, killed: Training) -> list[str]:
    """How the two trainings differ at their ends: not at all, it is hoped."""
    found = []
    expected, scores = undisturbed.scores(), killed.scores()
    if scores != expected:
        found.append(f'the final scores are {scores}, undisturbed {expected}')
    weights, others = undisturbed.weights(), killed.weights()
    unequal = [name for name in weights if not torch.equal(weights[name], others[name])]
    if unequal:
        found.append(f'{len(unequal)} of {len(weights)} final tensors differ')
    return found


def soak(args: argparse.Namespace, console: Console) -> dict:
    """All lives of the training, and the comparison at the end."""
    rng = random.Random(args.seed)
    folder = args.work_dir.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    undisturbed = Training(args, folder / 'undisturbed', folder / 'undisturbed.log')
    with console.status('the training that is left alone'):
        startup = run_to_the_end(undisturbed)
    console.print(HEADER, soft_wrap=True, markup=False, highlight=False)

    lives, problems, available = [], [], 0
    for number in range(1, args.kills + 1):
        life = Life(number, rng.choice(MOMENTS))
        training = Training(args, folder / 'killed', folder / f'life_{number:02d}.log')
        with console.status(f'kill {number} of {args.kills}, while {life.moment}'):
            run_and_kill(training, life, rng, args.interval, startup)
        problems += life.problems(available, args.interval)
        available = life.newest_whole
        lives.append(life)
        row = {key: '–' if value is None else value for key, value in asdict(life).items()}
        console.print(ROW.format(**row), soft_wrap=True, markup=False, highlight=False)

    last = Training(args, folder / 'killed', folder / 'last_life.log')
    with console.status('the last life, to the end'):
        run_to_the_end(last)
    if (last.resumed_at() or 0) != available:
        problems.append(f'the last life went on at {last.resumed_at()}, not {available}')
    problems += differences(undisturbed, last)
    return dict(
        lives=[asdict(life) for life in lives],
        problems=problems,
        undisturbed=undisturbed.scores(),
        killed=last.scores(),
        seed=args.seed,
        iterations=args.iterations,
        interval=args.interval,
        loop=args.loop,
        config=args.config,
        torch=torch.__version__,
    )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--config',
        default='configs/deeplabv3_lmp_camvid_small.py',
        help='what to train (default: the small CamVid config with LMP)',
    )
    parser.add_argument('--kills', type=int, default=20, help='how often to kill (default: 20)')
    parser.add_argument('--iterations', type=int, default=120, help='of training (default: 120)')
    parser.add_argument(
        '--interval', type=int, default=5, help='iterations between checkpoints (default: 5)'
    )
    parser.add_argument(
        '--loop', default='FastResumeTrainLoop', help='train loop (default: FastResumeTrainLoop)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the moments (default: 0)')
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/soak'),
        help='emptied first (default: work_dirs/soak)',
    )
    return parser.parse_args()


def main() -> None:
    args, console = parse_args(), Console()
    begin = time.monotonic()
    result = soak(args, console)
    result['minutes'] = round((time.monotonic() - begin) / 60, 1)
    out = args.work_dir / 'soak.json'
    out.write_text(json.dumps(result, indent=1))
    console.print(f'undisturbed: {result["undisturbed"]}\nkilled:      {result["killed"]}')
    console.print(f'{len(result["lives"])} kills, {result["minutes"]} minutes, {out}')
    if result['problems']:
        raise SystemExit('error: ' + '\n'.join(result['problems']))
    console.print('nothing was lost: the final scores and weights are equal')


if __name__ == '__main__':
    main()
