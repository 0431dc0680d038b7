"""Is a change of the predictions an improvement? The interval of a score's difference."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmseg_balance.functional.confusion import ratio
from mmseg_balance.functional.per_image import draw_resamples, resampled_scores

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class ImageSums:
    """Sums of each image: ``confusions (images, C, C)``, ``nll (images,)``, ``pixels (images,)``."""

    confusions: np.ndarray
    nll: np.ndarray
    pixels: np.ndarray

    def score(self, name: str) -> float:
        """A score over all images; see :func:`score_of_resamples`."""
        everything = np.zeros(len(self.nll), np.int64)
        return float(score_of_resamples(self, name, np.ones((1, 1)), everything)[0])


@dataclass(frozen=True)
class Gain:
    """The difference of a score, better being positive, and its 95 % interval."""

    score: str
    mean: float
    low: float
    high: float
    groups: int

    @property
    def is_real(self) -> bool:
        """Whether the interval is above zero."""
        return self.low > 0

    def __str__(self) -> str:
        return f'{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]'


def score_of_resamples(
    sums: ImageSums, name: str, counts: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """``(resamples,)`` values of a score, for ``counts (resamples, groups)`` of each group.

    ``NLL`` is its negative here, so that more is better, as for all other scores.
    """
    if name != 'NLL':
        return resampled_scores(sums.confusions, counts, groups)[name]
    nll, pixels = (
        counts @ np.bincount(groups, part, counts.shape[1]) for part in (sums.nll, sums.pixels)
    )
    return -ratio(nll, pixels)


def gain(before: ImageSums, after: ImageSums, name: str, groups: np.ndarray, seed: int = 0) -> Gain:
    r"""By how much a score is better, with an interval over the groups.

    .. math:: d \pm t_{G-1} \sqrt{\frac{G}{G-1} \mathrm{Var}_b(d^{*b})}

    where resample b draws G groups with replacement, the same before and after.

    Convention: with one group there is no interval (nan), so nothing is an improvement.

    Args:
        before, after: Sums of the same images.
        name: ``'NLL'`` or a score of :func:`~mmseg_balance.functional.per_image.per_image_scores`.
        groups: ``(images,)`` label of the group of each image.
        seed: Seed of the draws.

    Example:
        >>> hits = np.array([6, 7, 6, 8])
        >>> def sums(hits):
        ...     confusions = np.stack([hits, 10 - hits, 10 - hits, hits], 1).reshape(-1, 2, 2)
        ...     return ImageSums(confusions, np.zeros(4), np.full(4, 20))
        >>> found = gain(sums(hits), sums(hits + 1), 'acc', np.arange(4))
        >>> round(found.mean, 3), round(found.low, 3), found.is_real
        (0.1, 0.1, True)
    """
    labels, index = np.unique(groups, return_inverse=True)
    number = len(labels)
    counts = draw_resamples(number, RESAMPLES, seed)
    difference = score_of_resamples(after, name, counts, index) - score_of_resamples(
        before, name, counts, index
    )
    mean, resampled = float(difference[0]), difference[1:][np.isfinite(difference[1:])]
    if number < 2 or len(resampled) < 2:
        return Gain(name, mean, np.nan, np.nan, number)
    half = stats.t.ppf((1 + LEVEL) / 2, number - 1) * np.sqrt(
        resampled.var() * number / (number - 1)
    )
    return Gain(name, mean, float(mean - half), float(mean + half), number)


def verdict(gains: Mapping[str, Gain], judge: str, accuracy_drop: float) -> str | None:
    """Why a change is not kept, in a phrase; None if it is kept.

    Convention: where mean recall is judged, accuracy may not fall by more than ``accuracy_drop``.

    Example:
        >>> gains = {'mIoU': Gain('mIoU', .02, -.01, .05, 9)}
        >>> verdict(gains, 'mIoU', .01)
        'mIoU changes by +0.0200 [-0.0100, +0.0500], which is not above zero'
    """
    found = gains[judge]
    if not found.is_real:
        if judge == 'NLL':
            found = Gain('NLL', -found.mean, -found.high, -found.low, found.groups)
        side = 'below' if judge == 'NLL' else 'above'
        return f'{judge} changes by {found}, which is not {side} zero'
    if judge == 'mRecall' and gains['acc'].mean < -accuracy_drop:
        return (
            f'mRecall changes by {found}, but acc by {gains["acc"].mean:+.4f}, and no more than '
            f'{-accuracy_drop:+.4f} is allowed'
        )
    return None
