"""A scan of the training labels against a loop over the data set with ``np.unique``."""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from mmseg.registry import DATASETS

from mmseg_balance.benchmarking.batches import region_labels
from mmseg_balance.benchmarking.timing import Case, compare, time_in_turns
from mmseg_balance.statistics import ClassStatistics

BASELINE = 'data set and np.unique'


def write_labels(
    directory: Path, images: int, num_classes: int, height: int, width: int, seed: int
) -> None:
    """Label maps as PNG files, and empty files in place of the images, which nobody reads."""
    for folder in ('images', 'labels'):
        (directory / folder).mkdir()
    for index in range(images):
        labels = region_labels(1, num_classes, height, width, seed=seed + index)[0]
        cv2.imwrite(str(directory / 'labels' / f'{index}.png'), labels.numpy().astype(np.uint8))
        (directory / 'images' / f'{index}.jpg').touch()


def build_dataset(directory: Path, num_classes: int):
    """The data set with the one transform that counting needs."""
    return DATASETS.build(
        dict(
            type='BaseSegDataset',
            data_root=str(directory),
            data_prefix=dict(img_path='images', seg_map_path='labels'),
            metainfo=dict(classes=[f'class {c}' for c in range(num_classes)]),
            pipeline=[dict(type='mmseg.LoadAnnotations')],
        )
    )


def count_by_hand(dataset, num_classes: int) -> np.ndarray:
    """Pixels of each class, the way one writes it down."""
    pixels = np.zeros(num_classes, dtype=np.int64)
    for index in range(len(dataset)):
        values, counts = np.unique(dataset[index]['gt_seg_map'], return_counts=True)
        known = values < num_classes
        pixels[values[known]] += counts[known]
    return pixels


def measure(directory: Path, args: argparse.Namespace) -> list[dict]:
    """One row for each: images a second."""
    classes, height, width = args.shape
    write_labels(directory, args.images, classes, height, width, args.seed)
    dataset = build_dataset(directory, classes)

    def scan(workers: int):
        return lambda: ClassStatistics.scan(dataset, workers=workers, progress=False)

    if not np.array_equal(scan(0)().pixels, count_by_hand(dataset, classes)):
        raise RuntimeError('the scan and np.unique count different pixels')
    cases = [
        Case(BASELINE, 'stock', lambda: count_by_hand(dataset, classes)),
        Case('ClassStatistics.scan, this process', 'ours', scan(0)),
    ]
    if args.workers and args.clock == 'wall':
        cases.append(
            Case(f'ClassStatistics.scan, {args.workers} processes', 'ours', scan(args.workers))
        )
    times = time_in_turns(cases, args.repeat, args.clock, seed=args.seed, title='scan')
    return [
        {
            'statistics': name,
            'images / s': args.images / timing.seconds,
            'time ratio': timing.ratio,
            'quartiles': timing.quartiles,
        }
        for name, timing in compare(times, BASELINE).items()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance benchmark statistics``."""
    parser.add_argument(
        '--shape',
        type=int,
        nargs=3,
        default=(19, 512, 1024),
        metavar=('C', 'H', 'W'),
        help='classes and size of a label map',
    )
    parser.add_argument('--images', type=int, default=64, help='label maps')
    parser.add_argument('--workers', type=int, default=2, help='processes of the parallel scan')


def run(args: argparse.Namespace) -> list[dict]:
    """One table."""
    with tempfile.TemporaryDirectory() as directory:
        rows = measure(Path(directory), args)
    size = ' x '.join(map(str, args.shape[1:]))
    return [dict(title=f'{args.images} label maps of {size}, {args.shape[0]} classes', rows=rows)]
