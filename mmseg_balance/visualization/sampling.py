"""Shows what batches hold: Balance-batch against plain sampling, by drawing both."""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.runtime.config_files import read_config
from mmseg_balance.statistics import ClassStatistics, build_training_set, load_statistics
from mmseg_balance.visualization.style import COLORS, name_text, new_figure, plain_axes, save_figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``mmseg-balance plot sampling`` takes."""
    parser.add_argument('config', help='config whose training set is drawn from')
    parser.add_argument('--min-classes', type=int, required=True, help='of the BalanceBatchSampler')
    parser.add_argument('--batch-size', type=int, help="images per batch (default: the config's)")
    parser.add_argument('--batches', type=int, default=2000, help='how many batches to draw')
    parser.add_argument('--seed', type=int, default=0, help='of the sampler')
    parser.add_argument('--no-fill', action='store_true', help="the paper's literal algorithm")
    parser.add_argument('--out', default='sampling.png', help='picture to write')


@dataclass(frozen=True)
class Draws:
    """What a number of batches held.

    ``shown`` (C,) is the share of batches that hold each class, ``num_classes`` and
    ``num_images`` (batches,) what each batch holds, ``milliseconds`` the processor time per batch.
    """

    shown: np.ndarray
    num_classes: np.ndarray
    num_images: np.ndarray
    discarded: float
    milliseconds: float

    def describe(self) -> str:
        return (
            f'{len(self.num_classes)} batches: {self.num_classes.mean():.2f} classes '
            f'(at least {self.num_classes.min()}), {self.num_images.mean():.2f} images, '
            f'{self.discarded:.2f} discarded for each kept, '
            f'{self.milliseconds:.3f} ms of CPU a batch'
        )


def run(args: argparse.Namespace) -> None:
    """Draw batches both ways, print what they hold, and draw how often each class is shown."""
    cfg = read_config(args.config)
    if args.batches < 1:
        raise ValueError(f'--batches must be at least 1, got {args.batches}')
    if args.batch_size is not None and args.batch_size < 1:
        raise ValueError(f'--batch-size must be at least 1, got {args.batch_size}')
    dataset = build_training_set(cfg)
    batch_size = args.batch_size or cfg.train_dataloader.batch_size
    statistics = load_statistics('auto', dataset)
    plain = DATA_SAMPLERS.build(dict(type='InfiniteSampler', dataset=dataset, seed=args.seed))
    balanced = DATA_SAMPLERS.build(
        dict(
            type='BalanceBatchSampler',
            sampler=plain,
            batch_size=batch_size,
            min_classes=args.min_classes,
            fill=not args.no_fill,
            statistics=statistics,
        )
    )
    ways = {
        'plain': draw_plain(statistics, plain, batch_size, args.batches),
        'Balance-batch': draw_balanced(statistics, balanced, args.batches),
    }
    for name, draws in ways.items():
        print(f'{name:14s} {draws.describe()}')
    rarest = int(np.where(statistics.images > 0, statistics.images, np.inf).argmin())
    print(
        f'{statistics.class_names[rarest]}, in {statistics.images[rarest]} of '
        f'{statistics.num_images} images, is in '
        + ', '.join(f'{draws.shown[rarest]:.1%} ({name})' for name, draws in ways.items())
    )
    save_figure(sampling_figure(statistics, ways, args.min_classes), args.out)


def draw_plain(statistics: ClassStatistics, sampler, batch_size: int, batches: int) -> Draws:
    """Draw batches of consecutive images of a sampler."""
    indices = iter(sampler)
    begin = time.thread_time()
    drawn = [[next(indices) for _ in range(batch_size)] for _ in range(batches)]
    return _held(statistics, drawn, 0.0, (time.thread_time() - begin) * 1e3 / batches)


def draw_balanced(statistics: ClassStatistics, sampler, batches: int) -> Draws:
    """Draw batches of a Balance-batch sampler."""
    begin = time.thread_time()
    drawn = [sampler.batch_of(iteration) for iteration in range(batches)]
    milliseconds = (time.thread_time() - begin) * 1e3 / batches
    discarded = float(np.mean([batch.discarded for batch in drawn]))
    return _held(statistics, [batch.images for batch in drawn], discarded, milliseconds)


def _held(statistics: ClassStatistics, drawn: list, discarded: float, milliseconds: float) -> Draws:
    held = np.zeros((len(drawn), statistics.num_classes), dtype=bool)
    for row, images in zip(held, drawn, strict=True):
        for image in images:
            row[statistics.classes_of(image)] = True
    sizes = np.array([len(images) for images in drawn])
    return Draws(held.mean(0), held.sum(1), sizes, discarded, milliseconds)


def sampling_figure(
    statistics: ClassStatistics, ways: dict[str, Draws], min_classes: int
) -> Figure:
    """Left, the share of batches that show each class; right, classes per batch."""
    figure = new_figure(max(8.0, 0.26 * statistics.num_classes + 3.5), 3.4)
    shares, sizes = (plain_axes(axes) for axes in figure.subplots(1, 2, width_ratios=(3, 1)))
    order = np.argsort(-statistics.images, kind='stable')
    bins = (
        np.arange(
            min(d.num_classes.min() for d in ways.values()),
            max(d.num_classes.max() for d in ways.values()) + 2,
        )
        - 0.5
    )
    for k, (name, draws) in enumerate(ways.items()):
        shares.bar(
            np.arange(len(order)) + 0.42 * k - 0.21,
            draws.shown[order],
            0.42,
            color=COLORS[k],
            label=name,
        )
        sizes.hist(
            draws.num_classes,
            bins,
            color=COLORS[k],
            alpha=0.75,
            weights=np.full(len(draws.num_classes), 1 / len(draws.num_classes)),
        )
    sizes.axvline(min_classes - 0.5, color='black', linewidth=0.8, linestyle=':')
    sizes.set_xlabel('classes in a batch')
    sizes.set_ylabel('share of batches')
    shares.set_xticks(
        np.arange(len(order)),
        [name_text(statistics.class_names[c]) for c in order],
        rotation=45,
        ha='right',
        rotation_mode='anchor',
    )
    shares.set_xlim(-0.7, len(order) - 0.3)
    shares.set_ylim(0, 1.02)
    shares.set_ylabel('share of batches that show it')
    figure.legend(
        *shares.get_legend_handles_labels(),
        loc='outside upper left',
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    return figure
