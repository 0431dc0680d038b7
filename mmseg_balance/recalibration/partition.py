"""Which images are fitted on and which are judged, whole groups at a time."""

from dataclasses import dataclass

import numpy as np

FOLDS = 5


@dataclass(frozen=True)
class Partition:
    """Images to fit on and to judge on.

    Attributes:
        fitted: Indices of the images to fit on.
        measured: Indices of the images to judge on.
        groups: ``(images,)`` group of every image.
        cross_fitted: Whether every image is both, so that the judged map of each must be fitted
            without its group.
    """

    fitted: np.ndarray
    measured: np.ndarray
    groups: np.ndarray
    cross_fitted: bool


def partition(groups: np.ndarray, fit_on: str) -> Partition:
    """Divide images by their groups, numbered from 0 as they first appear.

    Raises:
        ValueError: fewer than four groups: neither a cross-validation nor an interval is possible.

    Example:
        >>> part = partition(np.array([0, 0, 1, 2, 2, 3]), 'half')
        >>> part.fitted, part.measured
        (array([2, 5]), array([0, 1, 3, 4]))
        >>> partition(np.arange(4), 'first-half').fitted
        array([0, 1])
    """
    number = int(groups.max(initial=-1)) + 1
    if number < 4:
        raise ValueError(
            f'the {len(groups)} validation images are {number} group(s) and at least 4 are needed, '
            'two to fit on and two to judge on: choose smaller groups or more images.'
        )
    everything = np.arange(len(groups))
    if fit_on == 'all':
        return Partition(everything, everything, groups, True)
    fit = groups % 2 == 1 if fit_on == 'half' else groups < number // 2
    return Partition(everything[fit], everything[~fit], groups, False)


def fold_of_groups(groups: np.ndarray) -> np.ndarray:
    """Fold of each image: its groups, in ascending order, are dealt to at most ``FOLDS`` folds.

    Example:
        >>> fold_of_groups(np.array([4, 4, 9, 11]))
        array([0, 0, 1, 2])
    """
    rank = np.unique(groups, return_inverse=True)[1]
    return rank % min(FOLDS, rank.max(initial=0) + 1)
