"""Pixels, images, crops and batches of each class, ready to show."""

from dataclasses import dataclass

import numpy as np

from mmseg_balance.doctor.checks.imbalance import MIN_COMPONENTS
from mmseg_balance.doctor.examination import Examination
from mmseg_balance.doctor.reading import Reading


@dataclass(frozen=True)
class ClassRow:
    """One class; numbers as text, ``share`` and ``crop_share`` for bars."""

    name: str
    share: float
    crop_share: float | None
    pixels: str
    images: str
    crops: str
    batches: str
    iterations: str
    lost: str
    rare: bool


def class_rows(examination: Examination) -> list[ClassRow]:
    """A row per class, the most frequent first; none if the labels were not read."""
    reading = examination.reading
    if reading is None:
        return []
    try:
        statistics, share = reading.statistics, reading.pixel_share
    except Exception:  # reported as a finding
        return []
    if not share.any():  # no label map could be counted
        return []
    crops = _or_none(reading, 'crop_share')
    components = _or_none(reading, 'components') or {}
    total, lost = components.get('logits') or components.get('training') or (None, None)
    rows = []
    for c in np.argsort(-share, kind='stable'):
        p = None if crops is None or np.isnan(crops[c]) else float(crops[c])
        rows.append(
            ClassRow(
                name=statistics.class_names[c],
                share=float(share[c]),
                crop_share=p,
                pixels=percent(share[c]),
                images=percent(statistics.images[c] / max(statistics.num_images, 1)),
                crops='' if p is None else percent(p),
                batches=''
                if p is None
                else percent(1 - (1 - min(p, 1)) ** crops_per_step(reading)),
                iterations='' if p is None else times(100, p * crops_per_step(reading)),
                lost=percent(lost[c] / total[c])
                if total is not None and c in reading.small_classes and total[c] >= MIN_COMPONENTS
                else '',
                rare=int(c) in reading.rare_classes,
            )
        )
    return rows


def crops_per_step(reading: Reading) -> int:
    """Images of one iteration on all GPUs."""
    return reading.batch_size * reading.gpus


def _or_none(reading: Reading, name: str):
    try:
        return getattr(reading, name)
    except Exception:  # not read, or the check that needs it has reported why
        return None


def percent(share: float) -> str:
    """A share of all pixels as text.

    >>> percent(0.3166), percent(0.00292), percent(0)
    ('31.7 %', '0.29 %', '0 %')
    """
    value = 100 * float(share)
    return '0 %' if value == 0 else f'{value:.1f} %' if value >= 1 else f'{value:.2g} %'


def times(wanted: int, per_step: float) -> str:
    """Iterations until something has been seen so often.

    >>> times(100, 0.5), times(100, 0.0)
    ('200', 'never')
    """
    return 'never' if per_step <= 0 else f'{wanted / per_step:,.0f}'.replace(',', ' ')
