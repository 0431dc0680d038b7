"""What each class gains under B over A, against how frequent it is (Rota Bulo et al., figure 3)."""

import argparse
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mmseg_balance.visualization.metric_files import read_metric_file
from mmseg_balance.visualization.style import (
    FAINT,
    GAIN,
    INK,
    LOSS,
    name_text,
    new_figure,
    plain_axes,
    save_figure,
)

MOST_WITH_NAMES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mmseg-balance plot gain``."""
    parser.add_argument('before', help='ImbalanceMetric JSON of run A')
    parser.add_argument('after', help='ImbalanceMetric JSON of run B')
    parser.add_argument(
        '--score',
        default='IoU',
        choices=['IoU', 'recall', 'precision', 'F1'],
        help='the score whose gain is shown',
    )
    parser.add_argument('--out', default='gain.png', help='picture to write')


def run(args: argparse.Namespace) -> None:
    """Draw the two files."""
    keys = ('classes', 'confusion', 'per_class')
    before, after = (
        read_metric_file(path, 'ImbalanceMetric', keys) for path in (args.before, args.after)
    )
    if before['classes'] != after['classes']:
        raise ValueError(
            f'{args.before} and {args.after} have different classes; give two runs on one data set.'
        )
    # float: null, an undefined score, as nan
    scores = (np.array(report['per_class'][args.score], float) for report in (after, before))
    difference = np.subtract(*scores)
    pixels = np.asarray(after['confusion']).sum(1)
    save_figure(gain_figure(difference, pixels, after['classes'], args.score), args.out)


def gain_figure(
    gains: Sequence[float], pixels: Sequence[int], classes: Sequence[str], score: str = 'IoU'
) -> Figure:
    """One stem per class, rarest at the left, in percentage points; classes with nan are left out.

    Args:
        gains: ``(C,)`` differences of fractions. pixels: ``(C,)``. classes: C names.
        score: Name of what is gained.
    """
    gains, pixels = 100 * np.asarray(gains, float), np.asarray(pixels)
    shown = np.flatnonzero(np.isfinite(gains) & (pixels > 0))
    shown = shown[np.argsort(pixels[shown], kind='stable')]
    figure = new_figure(max(5.5, min(0.5 * len(shown) + 1, 14)), 4.2)
    axes = figure.subplots()
    colors = [GAIN if gains[index] >= 0 else LOSS for index in shown]
    places = np.arange(len(shown))
    axes.axhline(0, color=FAINT, linewidth=1, zorder=1)
    axes.vlines(places, 0, gains[shown], color=colors, linewidth=2)
    axes.scatter(places, gains[shown], color=colors, s=28, zorder=3)
    if len(shown) <= MOST_WITH_NAMES:
        labels = [f'{name_text(classes[index])}\n{_short(pixels[index])}' for index in shown]
        axes.set_xticks(places, labels, rotation=90 if len(shown) > 8 else 0)
    else:
        axes.set_xticks([])
    mean = gains[shown].mean() if len(shown) else float('nan')
    axes.set(xlabel='class and its pixels, rarest first', ylabel=f'gain in {score} (points)')
    better = int((gains[shown] > 0).sum())
    axes.set_title(
        f'{better} of {len(shown)} classes gain; mean {mean:+.2f} points', color=INK, loc='left'
    )
    axes.margins(y=0.12)
    plain_axes(axes).spines['bottom'].set_visible(False)
    axes.tick_params(axis='x', length=0)
    return figure


def _short(pixels: int) -> str:
    for unit, size in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if pixels >= size:
            return f'{pixels / size:.3g}{unit}'
    return str(pixels)
