"""The table of one score, class by class: rare classes last, colour by gain over the first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb

from mmseg_balance.experiments.summary import Method
from mmseg_balance.visualization.style import GAIN, LOSS

FULL_COLOUR = 20.0  # points of gain or loss with the strongest colour
STRONGEST = 0.6  # opacity of it


@dataclass(frozen=True)
class ClassCell:
    """One class of one method.

    Args:
        text: the score in %, or n/a.
        colour: CSS background, '' for none.
        title: what a pointer shows.
        best: whether no method has more.
    """

    text: str
    colour: str
    title: str
    best: bool


@dataclass(frozen=True)
class ClassRow:
    """A class with its share of the labelled test pixels."""

    name: str
    share: str
    group: str
    cells: list[ClassCell]


@dataclass(frozen=True)
class ClassTable:
    """A score of every class and method."""

    score: str
    methods: list[str]
    rows: list[ClassRow]


def class_table(results: dict, methods: Sequence[Method], score: str) -> ClassTable:
    """Builds the table of ``score`` (``IoU`` or ``recall``), frequent classes first."""
    values = np.stack([m.per_class(score) for m in methods]) * 100  # (methods, classes)
    pixels = np.asarray(results['pixels'], dtype=float)
    groups = {c: name for name, members in results['groups'].items() for c in members}
    rows = [
        ClassRow(
            results['classes'][c],
            share_text(pixels[c] / max(pixels.sum(), 1)),
            groups.get(c, ''),
            _cells(values[:, c], [m.name for m in methods]),
        )
        for c in np.argsort(-pixels, kind='stable')
    ]
    return ClassTable(score, [m.name for m in methods], rows)


def _cells(values: np.ndarray, names: Sequence[str]) -> list[ClassCell]:
    shown = values.round(1)
    best = np.nanmax(shown) if np.isfinite(shown).any() else np.nan
    cells = []
    for i, value in enumerate(values):
        gain = value - values[0]
        if np.isnan(value):
            cells.append(ClassCell('n/a', '', 'undefined', False))
            continue
        title = '' if i == 0 or np.isnan(gain) else f'{gain:+.1f} over {names[0]}'
        cells.append(
            ClassCell(
                f'{value:.1f}',
                '' if i == 0 else gain_colour(gain),
                title,
                bool(len(values) > 1 and shown[i] == best and best > 0),
            )
        )
    return cells


def gain_colour(gain: float) -> str:
    """CSS colour: of a gain or a loss in the figures, stronger for larger gaps.

    >>> gain_colour(10.), gain_colour(-40.), gain_colour(0.01)
    ('rgba(42, 111, 187, 0.30)', 'rgba(217, 112, 42, 0.60)', '')
    """
    strength = min(abs(gain) / FULL_COLOUR, 1.0) * STRONGEST if np.isfinite(gain) else 0.0
    if strength < 0.005:
        return ''
    red, green, blue = (round(255 * part) for part in to_rgb(GAIN if gain > 0 else LOSS))
    return f'rgba({red}, {green}, {blue}, {strength:.2f})'


def share_text(share: float) -> str:
    """A share in %, with two digits that count.

    >>> share_text(.317), share_text(.0029), share_text(.00011), share_text(0.)
    ('32 %', '0.29 %', '0.011 %', '0 %')
    """
    percent = share * 100
    if percent <= 0:
        return '0 %'
    digits = max(0, 1 - int(np.floor(np.log10(percent))))
    return f'{percent:.{digits}f} %'
