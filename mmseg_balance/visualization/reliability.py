"""Reliability diagrams: how often it is true against how probable it was said to be."""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mmseg_balance.functional.calibration import calibration_score, expected_calibration_error
from mmseg_balance.visualization.metric_files import read_metric_file
from mmseg_balance.visualization.style import (
    COLORS,
    FAINT,
    name_text,
    new_figure,
    plain_axes,
    run_names,
    save_figure,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mmseg-balance plot reliability``."""
    parser.add_argument('files', nargs='+', help="JSON files of CalibrationMetric's out_file")
    parser.add_argument('--names', nargs='+', help='a name for each file')
    parser.add_argument('--per-class', action='store_true', help='one small diagram per class')
    parser.add_argument('--out', default='reliability.png', help='picture to write')


def run(args: argparse.Namespace) -> None:
    """Draw the files."""
    names = run_names(args.files, args.names)
    if len(set(names)) < len(names):
        raise ValueError(
            f'two files have one name ({", ".join(names)}): give each its own with --names.'
        )
    reports = {
        name: read_metric_file(path, 'CalibrationMetric', ('bins',))
        for name, path in zip(names, args.files, strict=True)
    }
    bins = {name: report['bins'] for name, report in reports.items()}
    if args.per_class:
        first, *others = reports.values()
        if any(other.get('classes') != first.get('classes') for other in others):
            raise ValueError(
                '--per-class: the files have different classes; give runs on one data set.'
            )
        classes = first.get('classes') or range(len(first['bins']['count']))
        figure = per_class_diagrams(bins, [str(name) for name in classes])
    else:
        figure = reliability_diagram(bins)
    save_figure(figure, args.out)


def reliability_diagram(runs: Mapping[str, Mapping], colors: Sequence[str] | None = None) -> Figure:
    """All (pixel, class) pairs of each run: the curve above, how many pairs there are below.

    Args:
        runs: ``count``, ``positive`` and ``confidence``, each ``(C, N)``, under a run's name.
        colors: One for each run. Default: those of every figure, in their order.
    """
    figure = new_figure(4.6, 5.6)
    curve, histogram = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    _identity(curve)
    for color, (name, bins) in zip(colors or _cycle(len(runs)), runs.items(), strict=True):
        pooled = [np.asarray(bins[key]).sum(0) for key in ('count', 'positive', 'confidence')]
        label = f'{name_text(name)}  cal {calibration_score(*pooled):.3f}'
        _curve(curve, *pooled, color=color, label=label, gaps=len(runs) == 1)
        edges = np.linspace(0, 1, len(pooled[0]) + 1)
        histogram.stairs(
            pooled[0],
            edges,
            color=color,
            linewidth=1.5,
            fill=len(runs) == 1,
            alpha=0.8 if len(runs) == 1 else 1,
        )
    curve.set(ylabel='share that is true', xlim=(0, 1), ylim=(0, 1))
    curve.legend(loc='upper left', frameon=False, fontsize=8)
    histogram.set(xlabel='predicted probability', ylabel='pairs', yscale='log')
    histogram.yaxis.set_minor_locator(NullLocator())
    for axes in (curve, histogram):
        plain_axes(axes)
    return figure


def per_class_diagrams(runs: Mapping[str, Mapping], classes: Sequence[str]) -> Figure:
    """One small reliability diagram for each class, with the ECE of the first three runs in the title.

    Args:
        runs: As for :func:`reliability_diagram`.
        classes: C names.
    """
    columns = min(len(classes), max(3, int(np.ceil(np.sqrt(len(classes))))))
    rows = -(-len(classes) // columns)
    figure = new_figure(1.75 * columns, 1.95 * rows + 0.5)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(classes) :]:
        axes.set_visible(False)
    for index, (axes, title) in enumerate(zip(grid.flat, classes, strict=False)):
        _identity(axes)
        errors = []
        for color, (name, bins) in zip(_cycle(len(runs)), runs.items(), strict=True):
            own = [np.asarray(bins[key])[index] for key in ('count', 'positive', 'confidence')]
            _curve(axes, *own, color=color, label=name_text(name), gaps=len(runs) == 1, size=3)
            errors.append(f'{float(expected_calibration_error(*own)):.4f}')
        axes.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1, xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        plain_axes(axes).set_title(f'{name_text(title)}\nECE {" / ".join(errors[:3])}', fontsize=8)
    if len(runs) > 1:
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(),
            loc='outside upper center',
            ncols=len(runs),
            frameon=False,
            fontsize=8,
        )
    figure.supxlabel('predicted probability', fontsize=9)
    figure.supylabel('share that is true', fontsize=9)
    return figure


def _identity(axes: Axes) -> None:
    axes.plot((0, 1), (0, 1), color=FAINT, linewidth=1, linestyle='--', zorder=1)


def _curve(axes: Axes, count, positive, confidence, *, color, label, gaps, size=5) -> None:
    filled = count > 0
    predicted, actual = confidence[filled] / count[filled], positive[filled] / count[filled]
    if gaps:
        axes.vlines(predicted, predicted, actual, color=color, alpha=0.35, linewidth=size - 1)
    axes.plot(
        predicted,
        actual,
        color=color,
        marker='o',
        markersize=size,
        linewidth=1.5,
        markeredgecolor='white',
        markeredgewidth=0.6,
        label=label,
        zorder=3,
        clip_on=False,
    )


def _cycle(number: int) -> list[str]:
    if number > len(COLORS):
        raise ValueError(f'{number} runs in one diagram; at most {len(COLORS)} can be told apart.')
    return [*COLORS[:number]]
