"""Mean accuracy against mean IoU of several runs (Tian et al., figures 1 and 2)."""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mmseg_balance.visualization.metric_files import read_metric_file
from mmseg_balance.visualization.style import (
    COLORS,
    FAINT,
    INK,
    MARKERS,
    name_text,
    new_figure,
    plain_axes,
    run_names,
    save_figure,
)

MOST_WITH_NAMES = 4  # more names beside their dots would cover each other: a legend then


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mmseg-balance plot tradeoff``."""
    parser.add_argument('files', nargs='+', help="JSON files of ImbalanceMetric's out_file")
    parser.add_argument(
        '--names', nargs='+', help='a name for each file; files of one name are runs of one method'
    )
    parser.add_argument('--out', default='tradeoff.png', help='picture to write')


def run(args: argparse.Namespace) -> None:
    """Draw the files."""
    points: dict[str, list[tuple[float, float]]] = {}
    for name, path in zip(run_names(args.files, args.names), args.files, strict=True):
        scores = read_metric_file(path, 'ImbalanceMetric', ('scores', 'confusion'))['scores']
        points.setdefault(name, []).append((scores['mRecall'], scores['mIoU']))
    save_figure(tradeoff_figure(points), args.out)


def tradeoff_figure(points: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """A large dot per method, the mean of its runs; a small one per run if there are several.

    The cross hair is at the first method: above and to the right of it both scores are better.

    Args:
        points: (mean recall, mean IoU) of each run, as fractions, under the method's name.
    """
    figure = new_figure(5.6, 4.4)
    axes = figure.subplots()
    for index, (name, runs) in enumerate(points.items()):
        color = COLORS[index % len(COLORS)]
        runs = 100 * np.asarray(runs, float)
        recall, iou = runs.mean(0)
        if index == 0 and len(points) > 1:
            axes.axhline(iou, color=FAINT, linewidth=1, linestyle='--', zorder=1)
            axes.axvline(recall, color=FAINT, linewidth=1, linestyle='--', zorder=1)
        if len(runs) > 1:
            axes.scatter(*runs.T, s=12, color=color, alpha=0.5, linewidths=0)
        axes.scatter(
            recall,
            iou,
            s=55,
            color=color,
            zorder=3,
            edgecolors='white',
            linewidths=0.8,
            marker=MARKERS[index // len(COLORS) % len(MARKERS)],
            label=name_text(name),
        )
        if len(points) <= MOST_WITH_NAMES:
            axes.annotate(
                name_text(name),
                (recall, iou),
                (6, 5),
                textcoords='offset points',
                fontsize=8,
                color=INK,
                zorder=4,
            )
    axes.set(
        xlabel='mean accuracy (%): more of each class is found',
        ylabel='mean IoU (%): with fewer false finds',
    )
    axes.grid(color=FAINT, alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(0.18)
    plain_axes(axes)
    if len(points) > MOST_WITH_NAMES:
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc='outside lower center',
            ncols=4,
            frameon=False,
            fontsize=8,
        )
    return figure
