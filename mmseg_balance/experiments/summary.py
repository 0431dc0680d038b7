"""Runs to methods: mean and deviation over seeds, and which method is best and second best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Column:
    """A score in the tables.

    Args:
        key: its name in a run's ``scores``.
        title: its name in the tables.
        meaning: one sentence.
        direction: 1 if more is better, -1 if less is.
        scale: what the stored value is multiplied with for display.
        digits: after the point.
    """

    key: str
    title: str
    meaning: str
    direction: int = 1
    scale: float = 100.0
    digits: int = 1


FIXED_COLUMNS = (
    Column('acc', 'acc', 'share of pixels that are right'),
    Column('mF1', 'F1', 'F1 averaged over classes; undefined when a class is never found'),
    Column('mRecall', 'rec', 'recall averaged over classes (mean accuracy)'),
    Column('cal', 'cal', 'calibration score, 100 where confidence equals frequency'),
    Column('S_acc', 'S_acc', 'harmonic mean of cal and acc'),
    Column('S_rec', 'S_rec', 'harmonic mean of cal and rec'),
    Column('mIoU', 'mIoU', 'IoU averaged over classes'),
    Column('FWIoU', 'FWIoU', "IoU weighted with each class's share of pixels"),
    Column('ECE', 'ECE', 'expected calibration error of the predicted class', direction=-1),
)
GROUP_MEANINGS = {
    'head': 'mIoU of the classes with the most pixels',
    'body': 'mIoU of the classes in the middle',
    'tail': 'mIoU of the classes with the fewest pixels',
}


@dataclass(frozen=True)
class Cell:
    """A score of a method.

    Args:
        mean: over seeds, in the column's display scale; None when undefined for a seed.
        deviation: sample standard deviation over seeds; None with fewer than two.
        rank: 1 best, 2 second best of the methods, 0 any other.
    """

    mean: float | None
    deviation: float | None
    digits: int = 1
    rank: int = 0

    def text(self) -> str:
        """As in the tables.

        >>> Cell(51.26, .3).text(), Cell(51.26, None).text(), Cell(None, None).text()
        ('51.3 ± 0.3', '51.3', 'n/a')
        """
        if self.mean is None:
            return 'n/a'
        value = f'{self.mean:.{self.digits}f}'
        return value if self.deviation is None else f'{value} ± {self.deviation:.{self.digits}f}'


@dataclass(frozen=True)
class Method:
    """The finished runs of one loss, sampler and decision on one split, in the order of seeds."""

    name: str
    runs: list[dict]

    @property
    def seeds(self) -> list[int]:
        """None of them for a network that is reported as it was given."""
        return [run['seed'] for run in self.runs if run['seed'] is not None]

    def seconds(self, stage: str) -> float | None:
        """Mean time of a stage, None when not known of every run."""
        times = [run['seconds'].get(stage) for run in self.runs]
        return None if None in times else sum(times) / len(times)

    def per_class(self, score: str) -> np.ndarray:
        """Mean over the seeds that define it, ``(C,)``; nan where no seed does."""
        values = np.array([run['per_class'][score] for run in self.runs], dtype=float)
        known = ~np.isnan(values)
        total = np.where(known, values, 0.0).sum(0)
        with np.errstate(invalid='ignore'):
            return np.where(known.any(0), total / known.sum(0), np.nan)


def columns_of(results: dict) -> list[Column]:
    """The tables' columns: the fixed ones, and one for each group of classes before the last.

    >>> [c.title for c in columns_of({'groups': {'head': [1], 'tail': [0]}})][-4:]
    ['FWIoU', 'head', 'tail', 'ECE']
    """
    groups = [
        Column(f'mIoU_{name}', name, GROUP_MEANINGS.get(name, f'mIoU of the {name} classes'))
        for name in results['groups']
    ]
    return [*FIXED_COLUMNS[:-1], *groups, FIXED_COLUMNS[-1]]


def methods_of(results: dict, split: str = 'test') -> list[Method]:
    """Groups the finished runs as scored on a split; the order is that of the runs."""
    found: dict[str, list[dict]] = {}
    for run in results['runs']:
        if run['split'] == split:
            found.setdefault(run['method'], []).append(run)
    return [Method(name, runs) for name, runs in found.items()]


def summarise(methods: Sequence[Method], columns: Sequence[Column]) -> list[list[Cell]]:
    """One row of cells per method, one cell per column.

    Ranks go by the displayed number: what reads the same is ranked the same, and where all read
    the same none is ranked.
    """
    table = []
    for column in columns:
        cells = [_cell(method, column) for method in methods]
        table.append(_ranked(cells, column.direction))
    return [list(row) for row in zip(*table, strict=True)]


def mean_of(method: Method | None, key: str) -> Cell:
    """A score of a method, without a rank; undefined where there is no such method."""
    if method is None:
        return Cell(None, None)
    return _cell(method, Column(key, key, ''))


def _cell(method: Method, column: Column) -> Cell:
    values = [run['scores'].get(column.key) for run in method.runs]
    if not values or any(v is None or np.isnan(v) for v in values):
        return Cell(None, None, column.digits)
    values = np.array(values, dtype=float) * column.scale
    deviation = float(values.std(ddof=1)) if len(values) > 1 else None
    return Cell(float(values.mean()), deviation, column.digits)


def _ranked(cells: list[Cell], direction: int) -> list[Cell]:
    shown = [None if c.mean is None else round(c.mean, c.digits) for c in cells]
    levels = sorted({v for v in shown if v is not None}, reverse=direction > 0)
    if len(set(shown)) < 2:
        return cells
    ranks = {value: rank for rank, value in enumerate(levels[:2], start=1)}
    return [
        Cell(c.mean, c.deviation, c.digits, ranks.get(value, 0))
        for c, value in zip(cells, shown, strict=True)
    ]
