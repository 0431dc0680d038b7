"""Every loss here, MMSegmentation's own and ``F.cross_entropy``: time and memory."""

import argparse
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.structures import OHEMPixelSampler
from torch import Tensor, nn

from mmseg_balance.benchmarking.batches import low_resolution_batch, training_batch
from mmseg_balance.benchmarking.memory import cuda_peak_bytes, saved_bytes
from mmseg_balance.benchmarking.peers import peer_losses
from mmseg_balance.benchmarking.timing import Case, compare, time_in_turns
from mmseg_balance.functional.logits import UpsampledLogits
from mmseg_balance.statistics import ClassStatistics

BASELINE = 'F.cross_entropy'
SHAPES = ((2, 19, 256, 512), (2, 19, 512, 1024), (4, 150, 512, 512), (16, 21, 321, 321))

# name in the table, config, largest ratio to F.cross_entropy that is aimed at on a CPU
OURS = (
    (
        'WeightedCrossEntropyLoss',
        dict(type='WeightedCrossEntropyLoss', class_weight='by class'),
        1.2,
    ),
    ('SoftmaxFocalLoss', dict(type='SoftmaxFocalLoss'), 1.2),
    ('OHEMCrossEntropyLoss', dict(type='OHEMCrossEntropyLoss'), 2.0),
    ('RecallLoss', dict(type='RecallLoss'), 1.7),
    ('LMPLoss', dict(type='LMPLoss'), 1.7),
    ('SoftDiceLoss', dict(type='SoftDiceLoss'), 1.7),
    ('SoftIoULoss', dict(type='SoftIoULoss'), 1.7),
    ('SoftTverskyLoss', dict(type='SoftTverskyLoss'), 1.7),
    ('GeneralizedDiceLoss', dict(type='GeneralizedDiceLoss'), 1.7),
    ('LovaszSoftmaxLoss', dict(type='LovaszSoftmaxLoss'), 20.0),
    ('LDAMLoss', dict(type='LDAMLoss', statistics='of the batch', scale=1.0), None),
    ('LogitAdjustedLoss', dict(type='LogitAdjustedLoss', statistics='of the batch'), None),
    ('BalancedVariationLoss', dict(type='BalancedVariationLoss', statistics='of the batch'), 2.0),
    ('SoftmaxSeesawLoss', dict(type='SoftmaxSeesawLoss', statistics='of the batch'), 2.0),
    ('RegionSizeLoss', dict(type='RegionSizeLoss'), 1.7),
    ('CenterlineDiceLoss', dict(type='CenterlineDiceLoss', thin_classes=[2]), None),
)
PAIR_TARGET = 2.5
CUDA_TARGET = 0.7
CUDA_TARGETS = {
    'SoftDice + WeightedCrossEntropy': 1.2,
    'PairedLoss of the two': 0.9,
    # They rank pixels, change the logits or look at neighbours before the primitives do their part.
    'LovaszSoftmaxLoss': None,
    'BalancedVariationLoss': None,
    'SoftmaxSeesawLoss': None,
    'CenterlineDiceLoss': None,
}
THEIRS = (
    ('mmseg CrossEntropyLoss', dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    ('mmseg DiceLoss', dict(type='DiceLoss', use_sigmoid=False)),
    ('mmseg TverskyLoss', dict(type='TverskyLoss')),
    ('mmseg LovaszLoss', dict(type='LovaszLoss', reduction='none')),
    ('mmseg FocalLoss (sigmoid)', dict(type='FocalLoss')),
)


class CrossEntropy(nn.Module):
    """PyTorch's own."""

    def forward(self, logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
        return F.cross_entropy(logits, labels, ignore_index=ignore_index)


class Sum(nn.Module):
    """Losses of one head, as MMSegmentation adds them up."""

    loss_name = 'loss_sum'

    def __init__(self, *losses: nn.Module) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.supports_low_resolution = all(
            getattr(loss, 'supports_low_resolution', False) for loss in losses
        )

    def forward(
        self, logits: Tensor, labels: Tensor, weight: Tensor | None = None, ignore_index: int = 255
    ) -> Tensor:
        return sum(
            loss(logits, labels, weight=weight, ignore_index=ignore_index) for loss in self.losses
        )


class SampledCrossEntropy(nn.Module):
    """MMSegmentation's cross entropy on the pixels that its OHEMPixelSampler keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = MODELS.build(dict(type='CrossEntropyLoss', avg_non_ignore=True))
        self.sampler = OHEMPixelSampler(
            SimpleNamespace(ignore_index=255), thresh=0.7, min_kept=100000
        )

    def forward(self, logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
        weight = self.sampler.sample(logits, labels.unsqueeze(1))
        return self.loss(logits, labels, weight=weight, ignore_index=ignore_index)


class Resized(nn.Module):
    """A loss on logits of low resolution: interpolated inside if it can, else before it."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
        logits = UpsampledLogits(logits, labels.shape[1:], align_corners=False)
        if not getattr(self.loss, 'supports_low_resolution', False):
            logits = logits.full
        return self.loss(logits, labels, ignore_index=ignore_index)


def our_losses(labels: Tensor, num_classes: int) -> dict[str, tuple[nn.Module, float | None]]:
    """Losses of this package and their targets; statistics and weights are those of the labels."""
    counts = torch.bincount(labels[labels != 255], minlength=num_classes).clamp(min=1).cpu()
    statistics = ClassStatistics.from_rows(
        [f'class {c}' for c in range(num_classes)], [counts.tolist()]
    )
    weights = (counts.sum() / (num_classes * counts)).tolist()
    built = {}
    for name, config, target in OURS:
        config = dict(config)
        if 'statistics' in config:
            config['statistics'] = statistics
        if 'class_weight' in config:
            config['class_weight'] = weights
        built[name] = (MODELS.build(config), target)
    pair = [dict(type='SoftDiceLoss'), dict(type='WeightedCrossEntropyLoss')]
    built['SoftDice + WeightedCrossEntropy'] = (Sum(*map(MODELS.build, pair)), None)
    built['PairedLoss of the two'] = (
        MODELS.build(dict(type='PairedLoss', losses=pair)),
        PAIR_TARGET,
    )
    return built


def stock_losses() -> dict[str, nn.Module]:
    """MMSegmentation's."""
    built = {name: MODELS.build(config) for name, config in THEIRS}
    built['mmseg OHEMPixelSampler + CE'] = SampledCrossEntropy()
    built['mmseg Dice + CE'] = Sum(built['mmseg DiceLoss'], built['mmseg CrossEntropyLoss'])
    return built


def chosen(names: list[str], only: list[str] | None) -> list[str]:
    """The names that contain one of ``only``; the baseline always."""
    return [
        name for name in names if not only or name == BASELINE or any(part in name for part in only)
    ]


class Workload(NamedTuple):
    """A batch and the losses that take it."""

    logits: Tensor
    labels: Tensor
    losses: dict[str, nn.Module]
    targets: dict[str, float | None]  # of ours

    def forward(self, name: str) -> Tensor:
        return self.losses[name](self.logits, self.labels, ignore_index=255)

    def both_passes(self, name: str) -> None:
        self.forward(name).backward()

    def forget(self) -> None:
        self.logits.grad = None


def workload(shape: tuple[int, int, int, int], args: argparse.Namespace) -> Workload:
    """The batch and the chosen losses on the device."""
    options = dict(device=args.device, dtype=getattr(torch, args.dtype), seed=args.seed)
    if args.low_resolution:
        logits, labels = low_resolution_batch(shape, args.low_resolution, **options)
    else:
        logits, labels = training_batch(shape, **options)
    ours = our_losses(labels, shape[1])
    losses = {
        BASELINE: CrossEntropy(),
        **{name: loss for name, (loss, _) in ours.items()},
        **stock_losses(),
        **(peer_losses() if args.peers else {}),
    }
    if args.low_resolution:
        losses = {name: Resized(loss) for name, loss in losses.items()}
    losses = {name: losses[name].to(args.device) for name in chosen(list(losses), args.only)}
    targets = {name: target for name, (_, target) in ours.items()}
    if args.device == 'cuda':
        targets = {name: CUDA_TARGETS.get(name, CUDA_TARGET) for name in ours}
    return Workload(logits, labels, losses, targets)


def measure(shape: tuple[int, int, int, int], args: argparse.Namespace) -> list[dict]:
    """One row for each loss: milliseconds, ratio to the baseline, its quartiles, memory."""
    work = workload(shape, args)
    cases = [
        Case(
            name,
            'ours' if name in work.targets else 'stock',
            partial(work.both_passes, name),
            work.forget,
        )
        for name in work.losses
    ]
    times = time_in_turns(
        cases, args.repeat, args.clock, device=args.device, seed=args.seed, title=str(shape)
    )
    one = torch.Size(shape).numel() * work.logits.element_size()
    rows = []
    for name, timing in compare(times, BASELINE).items():
        saved = saved_bytes(partial(work.forward, name), leave_out=(work.labels,))
        row = {
            'loss': name,
            'ms': timing.seconds * 1e3,
            'ratio': timing.ratio,
            'quartiles': timing.quartiles,
            'target': work.targets.get(name),
            'saved / logits': saved / one,
        }
        if args.device == 'cuda':
            work.forget()
            row['peak MiB'] = cuda_peak_bytes(partial(work.both_passes, name)) / 2**20
        rows.append(row)
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance benchmark losses``."""
    parser.add_argument(
        '--shape',
        type=int,
        nargs=4,
        action='append',
        metavar=('N', 'C', 'H', 'W'),
        help='of the logits; repeat for several (default: four usual ones)',
    )
    parser.add_argument(
        '--dtype',
        choices=('float32', 'float16', 'bfloat16'),
        default='float32',
        help='of the logits',
    )
    parser.add_argument('--only', nargs='+', metavar='NAME', help='losses whose name contains one')
    parser.add_argument(
        '--peers',
        action='store_true',
        help='also kornia, MONAI and segmentation_models.pytorch, those that are installed',
    )
    parser.add_argument(
        '--low-resolution',
        type=int,
        metavar='SCALE',
        help='logits of a SCALE-th of the height and width: ours interpolate inside, the others before',
    )


def run(args: argparse.Namespace) -> Iterator[dict]:
    """A table for each shape, when it is measured."""
    for shape in args.shape or SHAPES:
        yield dict(title=' x '.join(map(str, shape)), rows=measure(tuple(shape), args))
