"""The confusion matrix: where the pixels of a class go."""

import argparse
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mmseg_balance.visualization.metric_files import read_metric_file
from mmseg_balance.visualization.style import INK, name_text, new_figure, save_figure

# More classes than this leave no room for a number in each cell.
MOST_WITH_NUMBERS = 21


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mmseg-balance plot confusion``."""
    parser.add_argument('file', help="JSON file of ImbalanceMetric's out_file")
    parser.add_argument(
        '--columns',
        action='store_true',
        help='share of the predictions (precision) instead of the labels (recall)',
    )
    parser.add_argument('--out', default='confusion.png', help='picture to write')


def run(args: argparse.Namespace) -> None:
    """Draw the file."""
    report = read_metric_file(args.file, 'ImbalanceMetric', ('classes', 'confusion'))
    figure = confusion_figure(report['confusion'], report['classes'], args.columns)
    save_figure(figure, args.out)


def confusion_figure(
    confusion: Sequence[Sequence[int]] | np.ndarray, classes: Sequence[str], columns: bool = False
) -> Figure:
    """Shares of each row, most frequent class first; the diagonal is recall.

    Args:
        confusion: ``(C, C)`` pixels, rows are labels.
        classes: C names.
        columns: Shares of each column instead; the diagonal is precision.
    """
    matrix = np.asarray(confusion, dtype=float)
    order = np.argsort(-matrix.sum(1), kind='stable')
    matrix = matrix[np.ix_(order, order)]
    names = [name_text(classes[index]) for index in order]
    share = matrix / np.maximum(matrix.sum(0 if columns else 1, keepdims=True), 1)
    side = 2.2 + 0.36 * min(len(names), 40)
    figure = new_figure(side + 0.6, side)
    axes = figure.subplots()
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    size = 8 if len(names) <= MOST_WITH_NUMBERS else max(3, 8 * 40 / max(len(names), 40) * 0.7)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(names) <= MOST_WITH_NUMBERS:
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.005:
                axes.text(
                    column,
                    row,
                    f'{100 * value:.0f}',
                    ha='center',
                    va='center',
                    fontsize=7,
                    color='white' if value > 0.55 else INK,
                )
    axes.set_xlabel('predicted', fontsize=9)
    axes.set_ylabel('label, most frequent first', fontsize=9)
    of = 'predicted' if columns else 'labelled'
    bar = figure.colorbar(image, ax=axes, shrink=0.6, format=lambda value, _: f'{value:.0%}')
    bar.set_label(f"share of the class's {of} pixels", fontsize=9)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    return figure
