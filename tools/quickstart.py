"""Train cross entropy on rendered street scenes, screen other losses, show what the best one does.

What an earlier call has finished is not done again.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_balance.experiments.results import load_results, read_json
from tools.quickstart_page import BASELINE, CHOOSE_BY, conclusion, draw, table

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/deeplabv3_ce_street_scenes_dev_400.py'
LOSSES = (BASELINE, 'wce', 'soft_dice_ce', 'recall_dice')
HEAD_ITERATIONS = 150
KEPT_IMAGES = 40  # test images, evenly spaced, whose predictions are written
STEP = re.compile(r'Iter\((?:train|test)\) *\[ *(\d+)/(\d+)\](?:.* loss: ([\d.]+))?')
console = Console()


def run(title: str, log: Path, *command: str) -> None:
    """Run a verb of `mmseg-balance` with a progress bar; its own output goes to ``log``.

    Raises:
        SystemExit: it failed; shows the end of what it said.
    """
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        TextColumn('{task.percentage:3.0f}%'),
        TimeRemainingColumn(),
        TextColumn('{task.fields[note]}'),
    )
    tail: deque[str] = deque(maxlen=15)
    environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
    process = subprocess.Popen(
        [sys.executable, '-m', 'mmseg_balance', *command],
        cwd=ROOT,
        text=True,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    progress = Progress(*columns, console=console)
    with process, log.open('w', buffering=1) as file, progress:
        task = progress.add_task(title, total=None, note='starting')
        for line in process.stdout:
            file.write(line)
            tail.append(line)
            if found := STEP.search(line):
                done, total, loss = found.groups()
                progress.update(
                    task,
                    completed=int(done),
                    total=int(total),
                    note=f'loss {float(loss):.3f}' if loss else '',
                )
    if process.returncode:
        raise SystemExit(f'{"".join(tail)}\nerror: {title.lower()} failed; all it said is in {log}')


def train(work_dir: Path) -> Path:
    """Train to the end, or go on with a training that was interrupted; the last checkpoint."""
    folder = work_dir / 'cross_entropy'
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f'iter_{Config.fromfile(CONFIG).train_cfg.max_iters}.pth'
    if checkpoint.exists():
        console.print(f'Trained already: {checkpoint}')
    else:
        command = ('train', CONFIG, '--work-dir', str(folder), '--resume')
        run('Training cross entropy', folder / 'train.log', *command)
    return checkpoint


def screen_command(checkpoint: Path, folder: Path) -> list[str]:
    """What is asked of `mmseg-balance`, as a user would type it."""
    return [
        *('screen', CONFIG, str(checkpoint), '--losses', *LOSSES),
        *('--iters', str(HEAD_ITERATIONS), '--choose-by', CHOOSE_BY),
        *('--images', str(KEPT_IMAGES), '--work-dir', str(folder)),
    ]


def screen(work_dir: Path, checkpoint: Path) -> Path:
    """Train only the decode head on with every loss; the folder of the results."""
    folder = work_dir / 'screen'
    command = screen_command(checkpoint, folder)
    if is_screened(folder, command):
        console.print(f'Screened already: {folder}')
        return folder
    console.print(f'Screening: mmseg-balance {shlex.join(command)}', highlight=False)
    status = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'mmseg_balance', *command], cwd=ROOT, check=False
    ).returncode
    if status:
        raise SystemExit(f'error: screening ended with status {status}; logs: {folder / "logs"}')
    return folder


def is_screened(folder: Path, command: Sequence[str]) -> bool:
    """Whether this very screening has come to its end in the folder."""
    results = read_json(folder / 'results.json') or {}
    asked = any(call['command'].endswith(shlex.join(command)) for call in results.get('calls', []))
    methods = {run['method'] for run in results.get('runs', []) if run['split'] == 'test'}
    return asked and {*LOSSES} <= methods and bool(results.get('differences'))


def shown_method(results: dict) -> str:
    """The recommended method; where that is cross entropy, the one that comes next on dev."""
    method = results['recommended']['method']
    if method != BASELINE:
        return method
    dev = {run['method']: run['scores'][CHOOSE_BY] for run in results['runs'] if is_dev(run)}
    return max(dev, key=dev.get)


def is_dev(run: dict) -> bool:
    return run['split'] == 'dev' and run['method'] in LOSSES and run['method'] != BASELINE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', default='work_dirs/quickstart', help='where results go')
    args = parser.parse_args()
    os.chdir(ROOT)
    work_dir = Path(args.work_dir)
    checkpoint = train(work_dir)
    folder = screen(work_dir, checkpoint)
    results = load_results(folder)
    method = shown_method(results)
    strip = work_dir / f'ce_and_{method}.png'
    draw(results, folder, method, strip)
    console.print(table(results, method))
    program = [sys.executable, '-m', 'mmseg_balance']
    again = [*program, *screen_command(checkpoint, folder)]
    kept = str(work_dir / f'{method}.pth')
    console.print(
        f'{conclusion(results, method)}\n'
        f'Both heads were trained on for {HEAD_ITERATIONS} iterations on the same backbone. One seed, a short '
        'training: an example of the way, not evidence (docs/results.md).\n\n'
        f'Picture: {strip}\n'
        f'Page:    {folder / "report.html"} (all losses, all classes, figures)\n\n'
        'What next:\n'
        f'  keep that head as a checkpoint   {shlex.join([*again, "--keep", method, kept])}\n'
        f'  is there calibration to gain?    {shlex.join([*program, "calibrate", CONFIG, kept])} '
        '--out NEW.pth\n'
        '  more losses, more seeds          the first command with --losses all --seeds 0 1 2\n'
        '  your own config                  three lines, see README\n',
        highlight=False,
        soft_wrap=True,
    )


if __name__ == '__main__':
    main()
