"""Curves on dev with the spread over seeds, differences with intervals, dev against test."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmseg_balance.experiments.figures import STYLE
from mmseg_balance.visualization.style import COLORS, FAINT, INK, MARKERS, new_figure, plain_axes
from tools.evidence.store import HEADS, SCORES, Study, found, has_interval, name_of

CURVES = {
    'mIoU': ('mIoU on dev, %', 1),
    'imbalance/mRecall': ('mean recall on dev, %', 100),
    'cal': ('calibration on dev, %', 100),
}
SUMMARY = ('mIoU', 'mRecall', 'mIoU_I', 'acc', 'cal')
SUMMARY_FILE = 'trainings.png'
SMALL = dict(va='center', fontsize=8, color=INK, zorder=3)
BAND = '#eef0f3'
FOREST = ('mIoU', 'mRecall', 'acc', 'cal')
LEGEND_WIDTH = 150  # characters across a figure
CURVES_FILE = 'curves_{}.png'
INK_OF = {'better': COLORS[0], 'worse': COLORS[1]}


def makers(study: Study) -> dict[str, tuple[str, Callable[[Study], Figure]]]:
    """File name of each figure of a study, its alternative text, and what draws it."""
    found_ = {}
    if has_curves(study):
        found_[CURVES_FILE.format(study.name)] = ('Scores on dev while training', curves)
    if len(study.methods) > 1:
        found_[f'differences_{study.name}.png'] = ('Differences with 95 % intervals', forest)
        if any(run['split'] == 'dev' for run in study.content['runs']):
            found_[f'dev_test_{study.name}.png'] = ('Differences on dev and on test', dev_test)
    return found_


def has_curves(study: Study) -> bool:
    return study.kind != HEADS and any('curves' in run for run in study.content['runs'])


def names_of(study: Study) -> dict[str, str]:
    return {file: what for file, (what, _) in makers(study).items()}


def draw(study: Study, folder: Path) -> list[Path]:
    """Write the figures of a study; the same study gives the same bytes on one machine."""
    return [_save(make, study, folder / file) for file, (_, make) in makers(study).items()]


def draw_summary(studies: Sequence[Study], folder: Path) -> Path:
    """Write the figure of all full trainings."""
    return _save(summary, studies, folder / SUMMARY_FILE)


def _save(make: Callable[..., Figure], shown: Study | Sequence[Study], path: Path) -> Path:
    with mpl.rc_context(STYLE):
        make(shown).savefig(path, metadata={'Software': None})
    return path


def curves(study: Study) -> Figure:
    """Mean over seeds, and from the lowest to the highest seed, against the iteration."""
    figure = new_figure(9, 3.3)
    for axes, (key, (title, scale)) in zip(figure.subplots(1, 3), CURVES.items(), strict=True):
        for i, method in enumerate(study.methods):
            runs = [
                run['curves'][key]
                for run in study.content['runs']
                if run['method'] == method and key in run.get('curves', {})
            ]
            if runs:
                _band(axes, runs, scale, COLORS[i % len(COLORS)], name_of(method))
        axes.set(xlabel='iteration', title=title)
        axes.grid(color=FAINT, alpha=0.35, linewidth=0.6)
        plain_axes(axes)
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc='outside lower center', ncols=min(4, len(study.methods)))
    return figure


def _band(axes: Axes, runs: list, scale: float, colour: str, label: str) -> None:
    values = [dict(map(tuple, run)) for run in runs]
    steps = sorted(set.intersection(*map(set, values)))
    y = scale * np.array([[of_run[step] for step in steps] for of_run in values])
    axes.plot(
        steps,
        y.mean(0),
        color=colour,
        label=f'{label}, {len(runs)} seed{"s" * (len(runs) > 1)}',
        linewidth=1.6,
    )
    axes.fill_between(steps, y.min(0), y.max(0), color=colour, alpha=0.2, linewidth=0)


def forest(study: Study) -> Figure:
    """Difference from the baseline, filled on test and hollow on dev; colour: significant."""
    methods = study.methods[1:]
    figure = new_figure(10, 1.1 + 0.3 * len(methods))
    panels = figure.subplots(1, len(FOREST), sharey=True)
    for axes, score in zip(panels, FOREST, strict=True):
        for i, method in enumerate(methods):
            for split, shift in (('dev', 0.15), ('test', -0.15)):
                _point(axes, study.row(method, score, split), -i + shift, split == 'test')
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set(title=SCORES[score], xlabel='points', ylim=(0.5 - len(methods), 0.5))
        axes.grid(axis='x', color=FAINT, alpha=0.35, linewidth=0.6)
        plain_axes(axes)
    panels[0].set_yticks([-i for i in range(len(methods))], [*map(name_of, methods)])
    figure.suptitle(
        f'Difference from {name_of(study.baseline)}: filled on test, hollow on dev; in colour: '
        'significant',
        fontsize=9,
    )
    return figure


def summary(studies: Sequence[Study]) -> Figure:
    """Differences on test of the trainings of several studies, one below the other."""
    lines = [(study, method) for study in studies for method in study.methods]
    figure = new_figure(11, 0.9 + 0.24 * len(lines))
    panels = figure.subplots(1, len(SUMMARY), sharey=True)
    for axes, score in zip(panels, SUMMARY, strict=True):
        for y, (study, method) in enumerate(lines):
            if method == study.baseline:
                text = f'{name_of(method)} {study.cell(method, score).mean:.1f}'
                axes.axhspan(y - 0.42, y + 0.42, color=BAND, zorder=2)  # over the line at zero
                axes.text(0.02, y, text, transform=axes.get_yaxis_transform(), **SMALL)
            else:
                _point(axes, study.row(method, score), y, filled=True)
        axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
        axes.set(title=SCORES[score], xlabel='points', ylim=(len(lines) - 0.5, -0.5))
        axes.grid(axis='x', color=FAINT, alpha=0.35, linewidth=0.6)
        axes.tick_params(axis='y', length=0)
        plain_axes(axes)
    labels = [study.title if m == study.baseline else name_of(m) for study, m in lines]
    panels[0].set_yticks(range(len(lines)), labels)
    for label, (study, method) in zip(panels[0].get_yticklabels(), lines, strict=True):
        label.set_fontweight('bold' if method == study.baseline else 'normal')
    return figure


def _point(axes: Axes, row: dict | None, y: float, filled: bool) -> None:
    if row is None:
        return
    colour = INK_OF.get(found(row), '#6b6f76')
    if has_interval(row):
        axes.plot([100 * row['low'], 100 * row['high']], [y, y], color=colour, linewidth=1.2)
    axes.plot(100 * row['mean'], y, 'o', color=colour, mfc=colour if filled else 'white', ms=4)


def dev_test(study: Study) -> Figure:
    """What is gained on dev against what is gained on test."""
    names = [*map(name_of, study.methods[1:])]
    columns = max(1, LEGEND_WIDTH // (max(map(len, names)) + 8))
    figure = new_figure(9, 3.0 + 0.19 * math.ceil(len(names) / columns))
    for axes, score in zip(figure.subplots(1, 3), ('mIoU', 'mRecall', 'cal'), strict=True):
        for i, method in enumerate(study.methods[1:]):
            dev, test = (study.row(method, score, split) for split in ('dev', 'test'))
            if dev and test:
                axes.plot(
                    100 * dev['mean'],
                    100 * test['mean'],
                    MARKERS[i // len(COLORS) % len(MARKERS)],
                    color=COLORS[i % len(COLORS)],
                    label=name_of(method),
                    ms=5,
                )
        axes.axline((0, 0), slope=1, color=FAINT, linewidth=0.8)
        axes.axhline(0, color=FAINT, linewidth=0.8)
        axes.set(title=SCORES[score], xlabel='difference on dev, points', ylabel='on test')
        plain_axes(axes)
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc='outside lower center', ncols=columns, fontsize=7)
    return figure
