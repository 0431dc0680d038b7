"""Counts (facts) to class weights (policy)."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from mmseg_balance.functional.arguments import below_one, one_of


class ClassCounts(Protocol):
    """What the rules read; ``ClassStatistics`` has it."""

    pixels: np.ndarray  # (C,) pixels of each class
    images: np.ndarray  # (C,) images that hold each class
    image_pixels: np.ndarray  # (C,) valid pixels of the images that hold each class


def inverse_frequency(counts: ClassCounts) -> np.ndarray:
    r"""Inverse pixel frequencies, scaled to sum to the number of classes (Taubert, section 3).

    .. math:: w_c = C \frac{1/n_c}{\sum_k 1/n_k}

    Convention:
        - absent class (no pixel in the statistics): weight 0, and not counted in C.

    Args:
        counts: statistics of the training set.

    Example:
        >>> from types import SimpleNamespace
        >>> inverse_frequency(SimpleNamespace(pixels=np.array([300, 100, 0])))
        array([0.5, 1.5, 0. ])
    """
    return _sum_to_classes(_reciprocal(counts.pixels))


def median_frequency(counts: ClassCounts) -> np.ndarray:
    r"""Median frequency balancing (Eigen & Fergus 2015, section 6.3.2).

    .. math:: w_c = \mathrm{median}(f) / f_c, \qquad
              f_c = \frac{n_c}{\text{pixels of the images that hold } c}

    Convention:
        - absent class: weight 0, and not in the median.

    Args:
        counts: statistics of the training set.

    Example:
        >>> from types import SimpleNamespace
        >>> median_frequency(SimpleNamespace(pixels=np.array([80, 10, 10]),
        ...                                  image_pixels=np.array([100, 100, 50])))
        array([0.25, 2.  , 1.  ])
    """
    seen = np.asarray(counts.pixels) > 0
    frequency = np.asarray(counts.pixels) * _reciprocal(counts.image_pixels)
    median = np.median(frequency[seen]) if seen.any() else 0.0
    return median * _reciprocal(frequency)


def effective_number(counts: ClassCounts, beta: float = 0.999, unit: str = 'images') -> np.ndarray:
    r"""Inverse effective number of samples (Cui et al. 2019, equation 2), scaled to sum to C.

    .. math:: w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}

    A sample is an image that holds the class: the pixels of one image are so alike, and so many,
    that counting them leaves all weights equal unless ``beta`` is within 1e-7 of 1.

    Convention:
        - absent class: weight 0, and not counted in C.

    Args:
        counts: statistics of the training set.
        beta: in [0, 1); 0 weighs all classes alike, towards 1 by inverse frequency.
        unit: ``'images'`` or ``'pixels'``, what :math:`n_c` counts.

    Raises:
        ValueError: ``beta`` or ``unit`` out of range.

    Example:
        >>> from types import SimpleNamespace
        >>> effective_number(SimpleNamespace(images=np.array([1, 2])), beta=0.5)
        array([1.2, 0.8])
    """
    below_one('beta', beta)
    one_of('unit', unit, ('images', 'pixels'))
    samples = np.asarray(getattr(counts, unit), dtype=np.float64)
    effective = -np.expm1(samples * np.log(beta)) if beta else (samples > 0).astype(np.float64)
    return _sum_to_classes(_reciprocal(effective))


def enet(counts: ClassCounts, offset: float = 1.02) -> np.ndarray:
    r"""Logarithmic weights, bounded by :math:`1/\log(\text{offset})` (Paszke et al. 2016, ENet).

    .. math:: w_c = \frac{1}{\log(\text{offset} + n_c / \sum_k n_k)}

    Convention:
        - absent class: the bound itself (about 50), as the formula has it.

    Args:
        counts: statistics of the training set.
        offset: above 1.

    Raises:
        ValueError: ``offset`` out of range.

    Example:
        >>> from types import SimpleNamespace
        >>> enet(SimpleNamespace(pixels=np.array([75, 25]))).round(3)
        array([1.751, 4.184])
    """
    if not offset > 1:
        raise ValueError(f'offset={offset} must be above 1.')
    pixels = np.asarray(counts.pixels, dtype=np.float64)
    return 1 / np.log(offset + pixels / max(pixels.sum(), 1))


# Serves dispatch and error text.
RULES: Mapping[str, Callable[..., np.ndarray]] = {
    rule.__name__: rule for rule in (inverse_frequency, median_frequency, effective_number, enet)
}


def check_rule(rule: str) -> None:
    """Raise ValueError, with the rules that there are, for one that there is not."""
    if rule not in RULES:
        raise ValueError(f'class-weight rule {rule!r} is unknown; there are {", ".join(RULES)}.')


def class_weights(rule: str, counts: ClassCounts, **options) -> np.ndarray:
    """Class weights by a named rule.

    Args:
        rule: a key of ``RULES``.
        counts: statistics of the training set.
        **options: the rule's own arguments.

    Returns:
        ``(C,)`` float64.

    Raises:
        ValueError: an unknown rule, with the known ones; an argument that the rule lacks.

    Example:
        >>> from types import SimpleNamespace
        >>> class_weights('inverse_frequency', SimpleNamespace(pixels=np.array([3, 1])))
        array([0.5, 1.5])
    """
    check_rule(rule)
    try:
        return RULES[rule](counts, **options)
    except TypeError as error:
        raise ValueError(f'class-weight rule {rule!r}: {error}.') from error


def class_priors(counts: ClassCounts) -> np.ndarray:
    r"""Share of each class among all pixels, at least that of one pixel.

    .. math:: \pi_c = \max(n_c, 1) / \sum_k \max(n_k, 1)

    Convention:
        - absent class: counted as one pixel, so that its logarithm is finite.

    Args:
        counts: statistics of the training set.

    Example:
        >>> from types import SimpleNamespace
        >>> class_priors(SimpleNamespace(pixels=np.array([6, 3, 0])))
        array([0.6, 0.3, 0.1])
    """
    pixels = np.maximum(np.asarray(counts.pixels, dtype=np.float64), 1)
    return pixels / pixels.sum()


def _reciprocal(values: np.ndarray) -> np.ndarray:
    """1/x, and 0 for 0."""
    values = np.asarray(values, dtype=np.float64)
    return np.divide(1, values, out=np.zeros_like(values), where=values > 0)


def _sum_to_classes(weights: np.ndarray) -> np.ndarray:
    return weights * np.count_nonzero(weights) / max(weights.sum(), np.finfo(np.float64).tiny)
