"""What testing does with an image: softmax, argmax, the decision for IoU, calibration metrics."""

import argparse

import torch
from mmseg.registry import METRICS

from mmseg_balance.benchmarking.batches import training_batch
from mmseg_balance.benchmarking.timing import Case, compare, time_in_turns
from mmseg_balance.functional.decision import decide_probs

BASELINE = 'softmax'
SHAPES = ((19, 1024, 2048), (150, 512, 512))
NUM_BINS = 10


def data_sample(logits: torch.Tensor, labels: torch.Tensor) -> dict:
    """One image as a segmentor hands it to a metric."""
    fields = dict(seg_logits=logits, gt_sem_seg=labels[None], pred_sem_seg=logits.argmax(0)[None])
    return {name: {'data': data} for name, data in fields.items()}


def cases(logits: torch.Tensor, labels: torch.Tensor) -> list[Case]:
    """Each takes one image; the metrics keep their sums."""
    metric = METRICS.build(dict(type='CalibrationMetric', num_bins=NUM_BINS, prefix='calibration'))
    metric.dataset_meta = dict(classes=[f'class {c}' for c in range(len(logits))])
    sample, probs = data_sample(logits, labels), logits.softmax(0)[None]
    chosen = [
        Case(BASELINE, 'PyTorch', lambda: logits.softmax(0)),
        Case('argmax', 'PyTorch', lambda: probs.argmax(1)),
        Case("decide_probs(…, 'iou')", 'ours', lambda: decide_probs(probs, 'iou')),
        Case('CalibrationMetric', 'ours', lambda: metric.process(None, [sample])),
    ]
    try:
        from torchmetrics.classification import MulticlassCalibrationError
    except ImportError:
        return chosen
    theirs = MulticlassCalibrationError(
        len(logits), n_bins=NUM_BINS, ignore_index=255, validate_args=False
    ).to(logits.device)

    def update_and_compute() -> None:
        theirs.reset()  # it keeps every pixel; computing each image keeps it from filling memory
        theirs.update(logits[None], labels[None])
        theirs.compute()

    name = 'torchmetrics MulticlassCalibrationError (ECE of the top class alone)'
    return [*chosen, Case(name, 'torchmetrics', update_and_compute)]


def measure(shape: tuple[int, int, int], args: argparse.Namespace) -> list[dict]:
    """One row for each: milliseconds an image, ratio to a softmax."""
    with torch.no_grad():
        logits, labels = training_batch((1, *shape), args.device, seed=args.seed)
        logits, labels = logits.detach()[0], labels[0]
        times = time_in_turns(
            cases(logits, labels),
            args.repeat,
            args.clock,
            device=args.device,
            seed=args.seed,
            title=str(shape),
        )
    return [
        {
            'metric': name,
            'ms / image': timing.seconds * 1e3,
            'ratio': timing.ratio,
            'quartiles': timing.quartiles,
        }
        for name, timing in compare(times, BASELINE).items()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance benchmark metric``."""
    parser.add_argument(
        '--shape',
        type=int,
        nargs=3,
        action='append',
        metavar=('C', 'H', 'W'),
        help="of one image's logits; repeat for several (default: two usual ones)",
    )


def run(args: argparse.Namespace) -> list[dict]:
    """A table for each shape."""
    return [
        dict(title='one image, ' + ' x '.join(map(str, shape)), rows=measure(tuple(shape), args))
        for shape in args.shape or SHAPES
    ]
