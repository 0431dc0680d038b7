"""Draws how performance-based sampling follows the classes' IoU over a run."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmseg_balance.visualization.style import COLORS, name_text, new_figure, plain_axes, save_figure

KINDS = {
    'iou': 'IoU of the training pixels',
    'draw_probability': 'probability to be drawn',
    'draw_share': 'share of draws, mean of 5 reports',
}
# A report's few dozen draws make a noisy share: draw the mean of as many reports, ending with it.
REPORTS_IN_A_SHARE = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``mmseg-balance plot performance`` takes."""
    parser.add_argument(
        'scalars', metavar='RUN', type=Path, help='work_dir of the run, or a scalars.json'
    )
    parser.add_argument(
        '--classes', nargs='+', help='those to draw (default: eight whose probability changed most)'
    )
    parser.add_argument('--out', default='performance.png', help='picture to write')


def run(args: argparse.Namespace) -> None:
    """Draw one run into a file."""
    save_figure(performance_figure(read_reports(args.scalars), args.classes), args.out)


def read_reports(path: Path) -> dict[str, dict[str, tuple[list[int], list[float]]]]:
    """Read ``{kind: {class: (iterations, values)}}`` from a run's scalars.

    Raises:
        ValueError: the run has no report of a ClassPerformanceHook.
    """
    files = sorted(path.glob('*/vis_data/scalars.json')) if path.is_dir() else [path]
    found = {kind: {} for kind in KINDS}
    for file in files:  # of a resumed run the later file counts, where both have an iteration
        for line in file.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # the last line of a killed process
                continue
            if not isinstance(row, dict) or 'step' not in row:
                continue
            for key, value in row.items():
                kind, _, name = key.partition('/')
                if kind in found and name:
                    found[kind].setdefault(name, {})[row['step']] = value
    reports = {
        kind: {
            name: (sorted(values), [values[step] for step in sorted(values)])
            for name, values in classes.items()
        }
        for kind, classes in found.items()
    }
    if not reports['iou']:
        raise ValueError(f'{path} has no scalars of a ClassPerformanceHook (iou/<class>)')
    return reports


def performance_figure(reports: dict, classes: Sequence[str] | None = None) -> Figure:
    """Three panels over the iterations: IoU, probability and share of draws of some classes."""
    probabilities = reports['draw_probability']
    unknown = set(classes or ()) - set(probabilities)
    if unknown:
        raise ValueError(
            f'classes {sorted(unknown)} are not in the run; it has {sorted(probabilities)}'
        )
    if not classes:
        change = {name: np.ptp(values) for name, (_, values) in probabilities.items()}
        classes = sorted(change, key=change.get, reverse=True)[: len(COLORS)]
    figure = new_figure(10, 3.3)
    for axes, (kind, title) in zip(figure.subplots(1, 3), KINDS.items(), strict=True):
        plain_axes(axes)
        for name, color in zip(classes, COLORS * len(classes), strict=False):
            if name in reports[kind]:
                steps, values = reports[kind][name]
                if kind == 'draw_share':
                    values = trailing_mean(values, REPORTS_IN_A_SHARE)
                axes.plot(steps, values, color=color, label=name_text(name), linewidth=1.4)
        axes.set_title(title)
        axes.set_xlabel('iteration')
        axes.set_ylim(bottom=0)
    figure.legend(
        *figure.axes[1].get_legend_handles_labels(),  # there every class has a curve
        loc='outside right center',
        frameon=False,
        fontsize=8,
    )
    return figure


def trailing_mean(values: Sequence[float], length: int) -> np.ndarray:
    """Mean of each value and those before it, ``length`` of them or as many as there are.

    >>> trailing_mean([2., 4., 9.], length=2).tolist()
    [2.0, 3.0, 6.5]
    """
    sums = np.cumsum(np.concatenate([[0.0], values]))
    stops = np.arange(1, len(values) + 1)
    starts = np.maximum(stops - length, 0)
    return (sums[stops] - sums[starts]) / (stops - starts)
