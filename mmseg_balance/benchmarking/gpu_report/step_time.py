"""A training step of MMSegmentation's DeepLabV3-R50, part by part, with each loss."""

import statistics
import time
from collections.abc import Iterator
from itertools import pairwise

import torch
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_balance.benchmarking.batches import region_labels
from mmseg_balance.benchmarking.gpu_report.section_file import run_section
from mmseg_balance.benchmarking.losses import our_losses

CONFIG = 'mmseg::deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024.py'
CLASSES = 19
PARTS = ('backbone', 'head', 'loss', 'backward', 'optimizer')
DRY_LOSSES = ('SoftDiceLoss', 'SoftDice + WeightedCrossEntropy')


def measure(dry_run: bool) -> Iterator[dict]:
    """The tables of float32 and float16 autocast, again after each loss: milliseconds of each part."""
    init_default_scope('mmseg')
    device = 'cpu' if dry_run else 'cuda'
    model = build_model(dry_run).to(device).train()
    size = (2, 32, 32) if dry_run else (2, 512, 1024)
    images = torch.randn(size[0], 3, *size[1:], device=device)
    labels = region_labels(size[0], CLASSES, *size[1:])
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None].to(device))) for label in labels]
    stock = MODELS.build(dict(type='CrossEntropyLoss', avg_non_ignore=True))
    ours = our_losses(labels, CLASSES).items()
    losses = {'CrossEntropyLoss': stock, **{name: loss for name, (loss, _) in ours}}
    if dry_run:
        losses = {name: losses[name] for name in ('CrossEntropyLoss', *DRY_LOSSES)}
    for title, dtype in (('float32', None), ('float16 autocast', torch.float16)):
        title, rows = f'DeepLabV3-R50, {" x ".join(map(str, images.shape))}, {title}', []
        for name, loss in losses.items():
            row = _row(name, loss.to(device), model, images, samples, dtype, 1 if dry_run else 3)
            rows.append({**row, 'step / CE': row['step ms'] / (rows or [row])[0]['step ms']})
            yield dict(title=title, rows=rows)
        if dry_run:
            break


def build_model(small: bool) -> nn.Module:
    """The stock model, from random weights, with plain batch normalisation."""
    model = get_config(CONFIG).model
    model.pop('pretrained', None)
    for part in (model.backbone, model.decode_head, model.auxiliary_head):
        part.norm_cfg = dict(type='BN', requires_grad=True)
    if small:
        model.backbone.update(depth=18, stem_channels=8, base_channels=8)
        model.decode_head.update(in_channels=64, channels=8)
        model.auxiliary_head.update(in_channels=32, channels=8)
    return MODELS.build(model)


def _row(
    name: str,
    loss: nn.Module,
    model: nn.Module,
    images: Tensor,
    samples: list[SegDataSample],
    dtype: torch.dtype | None,
    rounds: int,
) -> dict:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    scaler = torch.amp.GradScaler(images.device.type, enabled=dtype is not None)
    model.decode_head.loss_decode = loss
    if images.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    seen: dict[str, list[float]] = {part: [] for part in PARTS}
    for turn in range(rounds + 1):
        clock = Clock(images.is_cuda)
        with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            total = _forward(model, images, samples, clock)
        scaler.scale(total).backward()
        clock.read('backward')
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        clock.read('optimizer')
        for part, seconds in clock.parts() if turn else ():
            seen[part].append(seconds * 1e3)
    row = {'loss': name, **{f'{p} ms': statistics.median(seen[p]) for p in PARTS}}
    row['step ms'] = statistics.median(map(sum, zip(*seen.values(), strict=True)))
    if images.is_cuda:
        row['peak MiB'] = torch.cuda.max_memory_allocated() / 2**20
    return row


def _forward(
    model: nn.Module, images: Tensor, samples: list[SegDataSample], clock: 'Clock'
) -> Tensor:
    features = model.extract_feat(images)
    clock.read('backbone')
    logits = model.decode_head(features)
    auxiliary = model.auxiliary_head(features)
    clock.read('head')
    losses = [
        model.decode_head.loss_by_feat(logits, samples),
        model.auxiliary_head.loss_by_feat(auxiliary, samples),
    ]
    total = sum(v for part in losses for k, v in part.items() if 'loss' in k)
    clock.read('loss')
    return total


class Clock:
    """Times between marks: a GPU's events, or the host's clock."""

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu, self.marks = on_gpu, []
        self.read('')

    def read(self, part: str) -> None:
        """Note the end of ``part``."""
        self.marks.append((part, self._now()))

    def _now(self):
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def parts(self) -> Iterator[tuple[str, float]]:
        """Seconds of each part."""
        if self.on_gpu:
            torch.cuda.synchronize()
        for (_, start), (part, end) in pairwise(self.marks):
            yield part, start.elapsed_time(end) / 1e3 if self.on_gpu else end - start


if __name__ == '__main__':
    run_section('step_time', measure)
