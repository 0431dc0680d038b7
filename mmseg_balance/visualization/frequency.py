"""Draws how often each class occurs (as Taubert et al., figure 5)."""

import argparse
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mmseg_balance.statistics import ClassStatistics
from mmseg_balance.visualization.style import (
    COLORS,
    INK,
    name_text,
    new_figure,
    plain_axes,
    save_figure,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``mmseg-balance plot frequency`` takes."""
    parser.add_argument('statistics', nargs='+', help='files of mmseg-balance class_stats')
    parser.add_argument('--out', default='frequency.png', help='picture to write')


def run(args: argparse.Namespace) -> None:
    """Draw the class frequencies of one or more data sets into a file."""
    loaded = [ClassStatistics.load(path) for path in args.statistics]
    save_figure(frequency_figure(loaded), args.out)


def frequency_figure(statistics: Sequence[ClassStatistics]) -> Figure:
    """Bars of the relative class frequencies, one panel per data set, on a logarithmic scale.

    Classes are in order of frequency; a class never seen has no bar. The line is the frequency
    that all classes would have if they were balanced.
    """
    most = max(item.num_classes for item in statistics)
    figure = new_figure(max(5.0, 0.26 * most + 1.5), 3.2 * len(statistics))
    for axes, item in zip(np.atleast_1d(figure.subplots(len(statistics))), statistics, strict=True):
        order = np.argsort(-item.pixels, kind='stable')
        frequency = item.pixels[order] / max(item.pixels.sum(), 1)
        plain_axes(axes)
        axes.bar(np.arange(item.num_classes), frequency, color=COLORS[0])
        axes.axhline(
            1 / item.num_classes,
            color=INK,
            linewidth=0.8,
            linestyle=':',
            label=f'balanced, 1/{item.num_classes}',
        )
        axes.set_yscale('log')
        axes.set_ylim(frequency[frequency > 0].min(initial=1) / 2, 1)
        axes.set_xticks(
            np.arange(item.num_classes),
            [name_text(item.class_names[c]) for c in order],
            rotation=45,
            ha='right',
            rotation_mode='anchor',
        )
        axes.set_xlim(-0.6, item.num_classes - 0.4)
        axes.set_ylabel('share of labelled pixels')
        axes.set_title(f'{name_text(item.dataset)}: {item.num_images} images')
        axes.legend(frameon=False, fontsize=8)
    return figure
