"""How often an image is repeated for the sake of its rarest class."""

import numpy as np


def repeat_factors(
    frequency: np.ndarray, threshold: float, indptr: np.ndarray, indices: np.ndarray
) -> np.ndarray:
    r"""Repeat factor of each image: that of its rarest class.

    .. math:: r(c) = \max\left(1, \sqrt{t / f(c)}\right), \qquad r(I) = \max_{c \in I} r(c)

    Convention: a class at or above the threshold has factor 1; an image without classes, too.

    Args:
        frequency: f, (C,) in [0, 1]; of images that have the class, or of pixels.
        threshold: t, in (0, 1], below which images are repeated.
        indptr, indices: classes of image i are ``indices[indptr[i]:indptr[i + 1]]``.

    Returns:
        (num_images,) float64, at least 1.

    Raises:
        ValueError: ``threshold`` is not in (0, 1].

    >>> f = np.array([1., .25, .01])
    >>> repeat_factors(f, .25, np.array([0, 1, 3, 5]), np.array([0, 0, 1, 0, 2])).tolist()
    [1.0, 1.0, 5.0]

    Reference: Gupta et al., *LVIS: a dataset for large vocabulary instance segmentation*,
    CVPR 2019, appendix B.2 ("repeat factor sampling").
    """
    if not 0 < threshold <= 1:
        raise ValueError(
            f'threshold must be in (0, 1], got {threshold}: the frequency of a class below which '
            'its images are repeated'
        )
    frequency = np.asarray(frequency, dtype=np.float64)
    occurring = np.where(frequency > 0, frequency, 1.0)
    by_class = np.maximum(1.0, np.sqrt(threshold / occurring))
    factors = np.ones(len(indptr) - 1)
    filled = np.diff(indptr) > 0
    if filled.any():
        factors[filled] = np.maximum.reduceat(by_class[indices], indptr[:-1][filled])
    return factors


def repeated_images(factors: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    r"""Make a random list of ``size`` images in which each occurs by its repeat factor.

    With :math:`\rho_i = size \cdot r_i / \sum_j r_j`, image i occurs
    :math:`\lfloor \rho_i \rfloor` or :math:`\lceil \rho_i \rceil` times, :math:`\rho_i` on average
    (systematic sampling of the images in random order). LVIS rounds each :math:`r_i` for itself;
    here the length of the list is the same each time, so that pass p can be made without the
    passes before it.

    Args:
        factors: r, (num_images,) above 0.
        size: length of the list.
        rng: random generator.

    >>> drawn = repeated_images(np.array([1., 3.]), 4, np.random.default_rng(0))
    >>> sorted(drawn.tolist())
    [0, 1, 1, 1]
    """
    order = rng.permutation(len(factors))
    ends = np.cumsum(np.asarray(factors, dtype=np.float64)[order])
    points = (np.arange(size) + rng.random()) * (ends[-1] / size)
    # The last point may fall on the last end by rounding.
    drawn = order[np.minimum(np.searchsorted(ends, points, side='right'), len(order) - 1)]
    rng.shuffle(drawn)
    return drawn
