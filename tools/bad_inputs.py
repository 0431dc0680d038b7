"""Data sets and settings that are wrong, each in one way.

    python -m tools.bad_inputs

trains on each with MMSegmentation alone and with the checks of this package, and prints the table
of docs/reliability.md.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import mmseg_balance  # noqa: F401  first: it makes MMSegmentation importable
from mmseg_balance.runtime.launching import errors_in_one_sentence

CLASSES = 3
CHECKS = [dict(type='LabelCheckHook'), dict(type='FiniteLossHook')]
SECONDS = 180
LONGEST = 220
SCORES = re.compile(r'mIoU: \S+  mAcc: \S+')


def write_data(root: Path, classes: int = CLASSES, images: int = 6) -> None:
    rng = np.random.default_rng(0)
    for kind in ('images', 'labels'):
        (root / kind).mkdir(parents=True)
    for i in range(images):
        cv2.imwrite(str(root / 'images' / f'{i}.jpg'), rng.integers(0, 256, (32, 48, 3), np.uint8))
        labels = np.kron(rng.integers(0, classes, (4, 6)), np.ones((8, 8)))
        cv2.imwrite(str(root / 'labels' / f'{i}.png'), labels.astype(np.uint8))


def tiny_model(num_classes: int, size: tuple[int, int]) -> dict:
    """A small FCN for images of this height and width."""
    norm = dict(type='BN')
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=size, seg_pad_val=255),
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=4,
            stem_channels=4,
            strides=(1, 1, 1, 1),
            dilations=(1, 1, 1, 1),
            norm_cfg=norm,
        ),
        decode_head=dict(
            type='FCNHead',
            in_channels=32,
            channels=4,
            num_convs=1,
            num_classes=num_classes,
            norm_cfg=norm,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        test_cfg=dict(mode='whole'),
    )


def config(root: Path, work_dir: Path, hooks: list[dict]) -> Config:
    """A tiny FCN on the data below root, two iterations."""
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        img_suffix='.jpg',
        seg_map_suffix='.png',
        metainfo=dict(
            classes=[f'class {i}' for i in range(CLASSES)],
            palette=[[60 * i] * 3 for i in range(CLASSES)],
        ),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    )
    return Config(
        dict(
            default_scope='mmseg',
            work_dir=str(work_dir),
            custom_hooks=hooks,
            model=tiny_model(CLASSES, (32, 48)),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                dataset=dataset,
                sampler=dict(type='InfiniteSampler', shuffle=True),
            ),
            val_dataloader=dict(
                batch_size=1,
                num_workers=0,
                dataset=dataset,
                sampler=dict(type='DefaultSampler', shuffle=False),
            ),
            val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            randomness=dict(seed=0),
        )
    )


def relabel(root: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for path in sorted((root / 'labels').iterdir()):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), change(labels))


def _class_too_many(root, cfg):
    relabel(root, lambda labels: labels + (labels == 2).astype(np.uint8))


def _binary(cfg):
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(
            classes=['background', 'vessel'], palette=[[0] * 3, [255] * 3]
        )
    cfg.model.decode_head.num_classes = 2


def _masks_0_255(root, cfg):
    _binary(cfg)
    relabel(root, lambda labels: 255 * (labels == 1).astype(np.uint8))


def _reduce_zero_label(root, cfg):
    _binary(cfg)
    relabel(root, lambda labels: (labels == 1).astype(np.uint8))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.reduce_zero_label = True


def _all_ignored(root, cfg):
    relabel(root, lambda labels: np.full_like(labels, 255))


def _missing_label(root, cfg):
    (root / 'labels' / '3.png').unlink()


def _truncated(kind, suffix):

    def spoil(root, cfg):
        path = root / kind / f'3{suffix}'
        path.write_bytes(path.read_bytes()[:40])

    return spoil


def _size_mismatch(root, cfg):
    relabel(root, lambda labels: labels[:-4])


def _colours(root, cfg):
    relabel(root, lambda labels: np.stack([labels, 0 * labels, 80 * labels], axis=-1))


def _empty(root, cfg):
    for path in root.glob('*/*'):
        path.unlink()


def _weights(root, cfg):
    cfg.model.decode_head.loss_decode.class_weight = [1.0, 2.0]


def _classes_disagree(root, cfg):
    cfg.model.decode_head.num_classes = CLASSES + 2


def _ignore_disagrees(root, cfg):
    cfg.model.decode_head.ignore_index = 0


def _diverges(root, cfg):
    cfg.optim_wrapper.optimizer.lr = 1e30


class BadInput(NamedTuple):
    name: str
    spoil: Callable[[Path, Config], None]
    message: str  # what the check's sentence must say


BAD_INPUTS = [
    BadInput('label ≥ num_classes', _class_too_many, r'labels/\d.png: label 3 .* 0 to 2'),
    BadInput('binary masks coded 0/255', _masks_0_255, 'never 1: masks coded 0/255'),
    BadInput('reduce_zero_label on masks coded 0/1', _reduce_zero_label, 'reduce_zero_label=False'),
    BadInput('every label ignored', _all_ignored, 'every label that was read .* is ignored'),
    BadInput('label map missing', _missing_label, r'labels/3.png: there is no such label map'),
    BadInput(
        'truncated image', _truncated('images', '.jpg'), r'images/3.jpg: this image cannot be'
    ),
    BadInput(
        'truncated label map',
        _truncated('labels', '.png'),
        r'labels/3.png: this label map cannot be',
    ),
    BadInput(
        'image and label of two sizes',
        _size_mismatch,
        r'labels/0.png has 48x28 pixels and its image 48x32',
    ),
    BadInput('label map in colours', _colours, r'labels/0.png: .* has shape \(32, 48, 3\)'),
    BadInput('empty folder', _empty, 'has no image: look at its data_root'),
    BadInput('class_weight of another length', _weights, r'has 2 numbers and the head 3 classes'),
    BadInput(
        'num_classes of head and data set',
        _classes_disagree,
        'num_classes=5 and the data set BaseSegDataset 3 classes',
    ),
    BadInput(
        'ignore_index of head and metric',
        _ignore_disagrees,
        'ignores label 0 and IoUMetric label 255',
    ),
    BadInput('loss not finite', _diverges, r'iteration \d: .*loss_ce is (nan|inf)'),
]


def train(bad: BadInput, folder: Path, hooks: list[dict]) -> Runner:
    """Three iterations, with tools/train.py's way to end when there are checks."""
    init_default_scope('mmseg')
    root = folder / 'data'
    write_data(root)
    cfg = config(root, folder / 'run', hooks)
    bad.spoil(root, cfg)
    runner = Runner.from_cfg(cfg)
    with errors_in_one_sentence() if hooks else nullcontext():
        runner.train()
    return runner


def outcome(bad: BadInput, checked: bool) -> str:
    """What a user sees at the end of a run of its own."""
    command = [sys.executable, '-m', 'tools.bad_inputs', '--run', bad.name]
    try:
        run = subprocess.run(
            command + ['--checked'] * checked, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return f'nothing in {SECONDS} s: hangs'
    if run.returncode == 0:
        scores = [line for line in run.stdout.splitlines() if 'mIoU:' in line]
        return 'trains on without a word' + (f' ({SCORES.search(scores[-1])[0]})' if scores else '')
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    return tidied(lines[-1]) if lines else f'exit status {run.returncode}'


def tidied(line: str) -> str:
    """Without temporary folders and addresses in memory, and at most a cell long."""
    line = re.sub(rf'{tempfile.gettempdir()}/\w+/', '', line)
    line = re.sub(r' <\S+ object at 0x\w+>', '', line).replace('|', '/')
    return line if len(line) <= LONGEST else line[:LONGEST].rsplit(' ', 1)[0] + ' …'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--run', help='train on this case only')
    parser.add_argument('--checked', action='store_true', help='with the checks')
    args = parser.parse_args()
    if args.run:
        bad = next(bad for bad in BAD_INPUTS if bad.name == args.run)
        with tempfile.TemporaryDirectory() as folder:
            train(bad, Path(folder), CHECKS if args.checked else [])
        return
    print('| what is wrong | MMSegmentation alone | with the checks |\n|---|---|---|')
    for bad in BAD_INPUTS:
        print(f'| {bad.name} | {outcome(bad, False)} | {outcome(bad, True)} |', flush=True)


if __name__ == '__main__':
    main()
