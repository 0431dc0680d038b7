"""Render a small data set, train and test DeepLabV3 with loss max-pooling on it, show the result.

What an earlier call has finished is not done again.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import deque
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mmseg_balance.functional.confusion import confusion_matrix

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/deeplabv3_lmp_street_scenes.py'
TWIN = 'configs/deeplabv3_ce_street_scenes.py'
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


def train(work_dir: Path, cfg: Config) -> Path:
    """Train to the end, or go on with a training that was interrupted; the last checkpoint."""
    checkpoint = work_dir / f'iter_{cfg.train_cfg.max_iters}.pth'
    if checkpoint.exists():
        console.print(f'Trained already: {checkpoint}')
    else:
        run(
            'Training',
            work_dir / 'train.log',
            'train',
            CONFIG,
            '--work-dir',
            str(work_dir),
            '--resume',
        )
    return checkpoint


def test(work_dir: Path, checkpoint: Path, cfg: Config) -> list[Path]:
    """Predict the validation images, painted and as label maps; the painted ones."""
    painted = work_dir / 'pictures' / 'vis_data' / 'vis_image'
    num_images = len(list(image_folder(cfg).glob('*')))
    if not painted.is_dir() or len(list(painted.iterdir())) < num_images:
        run(
            'Testing',
            work_dir / 'test.log',
            'test',
            CONFIG,
            str(checkpoint),
            '--work-dir',
            str(work_dir),
            '--out',
            str(work_dir / 'predictions'),
            '--show-dir',
            str(work_dir / 'pictures'),
            '--cfg-options',
            'default_hooks.logger.interval=1',
        )
    return sorted(painted.iterdir())


def image_folder(cfg: Config) -> Path:
    dataset = cfg.test_dataloader.dataset
    return ROOT / dataset.data_root / dataset.data_prefix.img_path


def score(predictions: Path, labels: Path, num_classes: int) -> torch.Tensor:
    """The confusion matrix of the written predictions: rows are labels, columns predictions."""
    total = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for path in sorted(labels.glob('*.png')):
        label, prediction = (
            torch.from_numpy(cv2.imread(str(folder / path.name), cv2.IMREAD_UNCHANGED))
            for folder in (labels, predictions)
        )
        total += confusion_matrix(prediction, label, num_classes)
    return total


def table(confusion: torch.Tensor, classes: tuple[str, ...]) -> Table:
    """Class by class, the commonest first: its share of the pixels and its scores."""
    hit, labelled, predicted = confusion.diag(), confusion.sum(1), confusion.sum(0)
    share = (100 * labelled / labelled.sum()).tolist()
    scores = {
        name: (100 * hit / total.clamp(min=1)).tolist()
        for name, total in (
            ('IoU', labelled + predicted - hit),
            ('recall', labelled),
            ('precision', predicted),
        )
    }
    result = Table(title='Validation images, in %')
    for heading in ('class', 'pixels', *scores):
        result.add_column(heading, justify='left' if heading == 'class' else 'right')
    for index in np.argsort(share)[::-1]:
        result.add_row(
            classes[index],
            f'{share[index]:.2f}',
            *(f'{column[index]:.1f}' for column in scores.values()),
        )
    result.add_section()
    result.add_row('mean', '', *(f'{np.mean(column):.1f}' for column in scores.values()))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', default='work_dirs/quickstart', help='where results go')
    args = parser.parse_args()
    os.chdir(ROOT)
    work_dir = Path(args.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)

    cfg = Config.fromfile(CONFIG)
    dataset = cfg.test_dataloader.dataset
    from mmseg_balance.datasets import StreetScenesDataset

    StreetScenesDataset(dataset.data_root)
    checkpoint = train(work_dir, cfg)
    pictures = test(work_dir, checkpoint, cfg)
    labels = ROOT / dataset.data_root / dataset.data_prefix.seg_map_path
    classes = StreetScenesDataset.METAINFO['classes']
    console.print(table(score(work_dir / 'predictions', labels, len(classes)), classes))
    console.print(
        f'Checkpoint: {checkpoint}\n'
        f'Pictures:   {pictures[0].parent} ({len(pictures)}, labels left, predictions right)\n'
        f'Logs:       {work_dir}\n\n'
        'What next:\n'
        f'  the same with plain cross entropy   {sys.executable} -m mmseg_balance train {TWIN}\n'
        '  another loss                        change the losses line of the config: '
        'configs/_base_/losses lists them\n'
        '  your own config                     three lines, see README\n',
        highlight=False,
        soft_wrap=True,
    )


if __name__ == '__main__':
    main()
