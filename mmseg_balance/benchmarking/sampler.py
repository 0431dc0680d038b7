"""BalanceBatchSampler and ClassPerformanceSampler against InfiniteSampler, on many images."""

import argparse
import itertools
import time

import numpy as np
from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.benchmarking.timing import Case, compare, time_in_turns
from mmseg_balance.statistics import ClassStatistics

BASELINE = 'InfiniteSampler'
BATCHES = 20  # in one reading: a single batch is too short for the clock
CLASSES_PER_IMAGE = (1, 9)


def synthetic_statistics(images: int, num_classes: int, seed: int = 0) -> ClassStatistics:
    """Images with 1 to 9 classes each, of which a few are frequent and most are rare.

    Example:
        >>> found = synthetic_statistics(1000, 20)
        >>> found.num_images, int(found.images[0]) > int(found.images[-1])
        (1000, True)
    """
    rng = np.random.default_rng(seed)
    least, most = CLASSES_PER_IMAGE
    sizes = rng.integers(least, min(most, num_classes) + 1, images)
    # Ascending and without repetition: strides add up, and wrap at no image's end.
    steps = np.minimum(rng.geometric(4 / num_classes, sizes.sum()), num_classes)
    starts = np.cumsum(sizes) - sizes
    running = np.cumsum(steps)
    classes = running - np.repeat(running[starts] - steps[starts], sizes) - 1
    kept = classes < num_classes
    sizes = np.add.reduceat(kept, starts, dtype=np.int64)
    return ClassStatistics.from_entries(
        [f'class {c}' for c in range(num_classes)],
        sizes,
        classes[kept],
        np.full(kept.sum(), 1000),
        np.zeros(images),
    )


class Images:
    """A data set of which the samplers need only the length and the classes."""

    def __init__(self, images: int, class_names: tuple[str, ...]) -> None:
        self.images = images
        self.metainfo = dict(classes=class_names)

    def __len__(self) -> int:
        return self.images


def build(args: argparse.Namespace) -> dict:
    """The samplers, as iterators of batches."""
    found = synthetic_statistics(args.images, args.classes, args.seed)
    dataset = Images(args.images, found.class_names)
    infinite = InfiniteSampler(dataset, seed=args.seed)
    balanced = DATA_SAMPLERS.build(
        dict(
            type='BalanceBatchSampler',
            sampler=InfiniteSampler(dataset, seed=args.seed),
            batch_size=args.batch_size,
            min_classes=args.min_classes,
            statistics=found,
        )
    )
    performance = DATA_SAMPLERS.build(
        dict(type='ClassPerformanceSampler', dataset=dataset, statistics=found, seed=args.seed)
    )
    return {
        BASELINE: _batches(infinite, args.batch_size),
        'BalanceBatchSampler': iter(balanced),
        'ClassPerformanceSampler': _batches(performance, args.batch_size),
    }


def _batches(sampler, batch_size: int):
    images = iter(sampler)
    while True:
        yield list(itertools.islice(images, batch_size))


def measure(args: argparse.Namespace) -> list[dict]:
    """One row for each: seconds to the first batch, microseconds for each that follows."""
    samplers, first = build(args), {}
    for name, batches in samplers.items():
        start = time.perf_counter()
        next(batches)
        first[name] = time.perf_counter() - start
    cases = [
        Case(name, 'sampler', lambda batches=batches: [next(batches) for _ in range(BATCHES)])
        for name, batches in samplers.items()
    ]
    times = time_in_turns(cases, args.repeat, args.clock, seed=args.seed, title='batches')
    return [
        {
            'sampler': name,
            'first batch s': first[name],
            'µs / batch': timing.seconds / BATCHES * 1e6,
            'ratio': timing.ratio,
            'quartiles': timing.quartiles,
        }
        for name, timing in compare(times, BASELINE).items()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance benchmark sampler``."""
    parser.add_argument('--images', type=int, default=10_000_000, help='in the data set')
    parser.add_argument('--classes', type=int, default=150, help='in the data set')
    parser.add_argument('--batch-size', type=int, default=16, help='images')
    parser.add_argument('--min-classes', type=int, default=40, help='in a balanced batch')


def run(args: argparse.Namespace) -> list[dict]:
    """One table."""
    title = f'{args.images} images, {args.classes} classes, batches of {args.batch_size}, min_classes={args.min_classes}'
    return [dict(title=title, rows=measure(args))]
