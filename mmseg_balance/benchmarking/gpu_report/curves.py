"""One training with each backend: from the same seed, the losses of all iterations agree."""

import copy
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmseg_balance.benchmarking.batches import region_labels
from mmseg_balance.benchmarking.gpu_report.section_file import run_section
from mmseg_balance.functional import backend

CONFIG = 'configs/deeplabv3_ce_camvid_small.py'
CAMVID = Path('data/camvid')
CLASSES = 11
LOSSES = ('WeightedCrossEntropyLoss', 'SoftDiceLoss', 'LMPLoss', 'RecallLoss')
ITERATIONS, DRY_ITERATIONS = 40, 2
# Sums in another order drift apart, and a training enlarges the difference: the first ones count.
COUNTED = 15
TOLERANCE = 0.01


class Losses(Hook):
    """Keeps the loss of each iteration."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.values.append(float(outputs['loss']))


def measure(dry_run: bool) -> list[dict]:
    """A row for each loss: how far the curves lie apart, and the time of an iteration."""
    init_default_scope('mmseg')
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with tempfile.TemporaryDirectory() as folder:
        data = CAMVID
        if dry_run or not CAMVID.is_dir():
            data = write_regions(Path(folder) / 'camvid', 48 if dry_run else 360)
        config = read_config(data, dry_run)
        chosen = LOSSES[1:2] if dry_run else LOSSES
        rows = [_row(loss, config, Path(folder)) for loss in chosen]
    source = 'CamVid' if data is CAMVID else 'images of regions'
    wrong = [row['loss'] for row in rows if not row['relative difference'] < TOLERANCE]
    if wrong:
        raise SystemExit(f'the curves of {", ".join(wrong)} differ: {rows}')
    return [dict(title=f'{source}, DeepLabV3-R18 small', rows=rows)]


def _row(loss: str, config: Config, folder: Path) -> dict:
    curves, seconds = {}, {}
    for name in ('eager', 'triton'):
        started = time.perf_counter()
        curves[name] = np.array(_train(config, loss, name, folder / f'{loss}_{name}'))
        seconds[name] = (time.perf_counter() - started) / len(curves[name])
    eager, kernels = curves['eager'], curves['triton']
    difference = np.abs(kernels - eager) / np.abs(eager)
    return {
        'loss': loss,
        'first': float(eager[0]),
        'last': float(eager[-1]),
        'relative difference': float(difference[:COUNTED].max()),
        'of all': float(difference.max()),
        'eager s / iteration': seconds['eager'],
        'triton s / iteration': seconds['triton'],
    }


def _train(config: Config, loss: str, backend_name: str, folder: Path) -> list[float]:
    """The losses of all iterations, computed by the backend."""
    model = copy.deepcopy(config.model)
    model.decode_head.loss_decode = [dict(type=loss)]
    before, losses = backend.BACKEND, Losses()
    backend.BACKEND = backend_name
    try:
        # Not from_cfg, which would format the whole config several times.
        runner = Runner(
            model,
            str(folder),
            train_dataloader=copy.deepcopy(config.train_dataloader),
            train_cfg=copy.deepcopy(config.train_cfg),
            optim_wrapper=copy.deepcopy(config.optim_wrapper),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=-1)),
            randomness=dict(seed=0),
            experiment_name=f'{loss}_{backend_name}',
            log_level='WARNING',
            default_scope='mmseg',
        )
        runner.register_hook(losses)
        runner.train()
    finally:
        backend.BACKEND = before
    return losses.values


def read_config(data: Path, dry_run: bool) -> Config:
    """The training of every loss, except for the loss."""
    config = Config.fromfile(CONFIG)
    config.train_dataloader.dataset.data_root = str(data)
    config.train_dataloader.update(num_workers=0, persistent_workers=False)
    config.train_cfg.update(max_iters=DRY_ITERATIONS if dry_run else ITERATIONS, val_interval=10**6)
    if dry_run:
        size = (16, 24)
        config.train_dataloader.batch_size = 2
        config.model.data_preprocessor.size = size
        for step in config.train_dataloader.dataset.pipeline:
            if step['type'] == 'Resize':
                step['scale'] = size[::-1]
    return config


def write_regions(root: Path, height: int, images: int = 24) -> Path:
    """Data laid out like CamVid, of coloured regions: where CamVid is not there.

    Args:
        root: folder to make.
        height: of the images; they are 4/3 as wide.
        images: how many.
    """
    colours = np.random.default_rng(0).integers(0, 256, (256, 3))
    labels = region_labels(images, CLASSES, height, height * 4 // 3).numpy().astype(np.uint8)
    noise = np.random.default_rng(1)
    for kind in ('images', 'labels'):
        (root / kind / 'train').mkdir(parents=True)
    for index, label in enumerate(labels):
        image = colours[label] + noise.normal(0, 20, (*label.shape, 3))
        cv2.imwrite(str(root / f'images/train/{index}.jpg'), image.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(root / f'labels/train/{index}.png'), label)
    return root


if __name__ == '__main__':
    run_section('curves', measure)
