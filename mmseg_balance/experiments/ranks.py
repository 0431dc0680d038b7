"""Ranks of methods: over data sets, and whether two ways of ranking agree."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def mean_ranks(scores: Sequence | np.ndarray) -> np.ndarray:
    """Mean rank of each method over the data sets; 1 is the best.

    Convention: higher scores are better; equal ones share the mean of their ranks.

    Args:
        scores: ``(datasets, methods)``.

    Returns:
        ``(methods,)`` float64.

    Raises:
        ValueError: another shape, or a nan: a method that misses a data set has no mean rank.

    Example:
        >>> mean_ranks([[.5, .7, .6], [.4, .4, .6]])
        array([2.75, 1.75, 1.5 ])

    Reference:
        Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", 2006, section
        3.2.2.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or np.isnan(scores).any():
        raise ValueError(
            f'scores has shape {scores.shape} and {int(np.isnan(scores).sum())} nan; it must be '
            '(datasets, methods) with a score everywhere: leave out methods that miss a data set.'
        )
    return stats.rankdata(-scores, axis=1).mean(0)


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    r"""Difference of two mean ranks from which two methods differ (Nemenyi's test).

    .. math:: \mathrm{CD} = q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    with k methods, N data sets and :math:`q_\alpha` the studentised range over :math:`\sqrt 2`.

    Args:
        methods: k, at least 2.
        datasets: N, at least 1.
        alpha: Level of the test of all pairs together.

    Raises:
        ValueError: too few methods or data sets.

    Example:
        >>> round(critical_difference(4, 14), 2), round(critical_difference(15, 4), 1)
        (1.25, 10.7)

    Reference:
        Demšar, 2006, section 3.2.2 and Table 5(a).
    """
    if methods < 2 or datasets < 1:
        raise ValueError(
            f'methods is {methods} and datasets {datasets}; ranks need 2 methods and 1 data set.'
        )
    quantile = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * datasets)))


def rank_agreement(
    first: Sequence | np.ndarray,
    second: Sequence | np.ndarray,
    *,
    over: str = 'methods',
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Kendall's tau between two ways of ranking the same methods, with a bootstrap interval.

    Convention: tau-b of the means over seeds, which counts ties; the interval is percentiles.
    Resampling methods, in pairs, says how far the agreement holds for other methods like these, run
    with as many seeds; resampling seeds, of each way apart, says how far the seeds decide it for
    just these methods. Not both: a method brings the noise of its seeds along. Resamples in which
    all methods tie are left out. With few methods the interval is rough, and a tau of 1 has the
    interval [1, 1]: the p value says how often as much agreement comes by chance (for 5 methods
    0.017).

    Args:
        first, second: ``(methods, seeds)`` scores, the methods in the same order; the seeds may
            differ in number.
        over: What is resampled, ``'methods'`` or ``'seeds'``.
        resamples, level, seed: Draws, confidence level, and the seed of the draws.

    Returns:
        ``tau``, ``low``, ``high``, and ``p``, two-sided for no association (exact without ties).

    Raises:
        ValueError: other shapes, fewer than two methods, a nan, another ``over``.

    Example:
        >>> screened = [[.44, .45], [.45, .46], [.46, .45], [.40, .41]]
        >>> trained = [[.445], [.461], [.469], [.429]]
        >>> result = rank_agreement(screened, trained)
        >>> round(result['tau'], 2), round(result['p'], 2)
        (0.91, 0.07)
    """
    ways = [np.asarray(way, np.float64) for way in (first, second)]
    _check(ways, over)
    tau, p = stats.kendalltau(*(way.mean(1) for way in ways))
    random = np.random.default_rng(seed)
    taus = [_tau_b(*_redrawn(ways, over, random)) for _ in range(resamples)]
    low, high = np.nanquantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return {'tau': float(tau), 'low': float(low), 'high': float(high), 'p': float(p)}


def _check(ways: list[np.ndarray], over: str) -> None:
    shapes = [way.shape for way in ways]
    if any(way.ndim != 2 or way.size == 0 for way in ways) or len(ways[0]) != len(ways[1]):
        raise ValueError(
            f'first and second have shapes {shapes[0]} and {shapes[1]}; they must be '
            '(methods, seeds) of the same methods.'
        )
    if len(ways[0]) < 2 or any(np.isnan(way).any() for way in ways):
        raise ValueError('ranking needs at least 2 methods, each with a score for every seed.')
    if over not in ('methods', 'seeds'):
        raise ValueError(f"over is {over!r}; give 'methods' or 'seeds'.")


def _redrawn(ways: list[np.ndarray], over: str, random: np.random.Generator) -> list[np.ndarray]:
    """Means over seeds of methods drawn with replacement, or over seeds drawn so."""
    if over == 'methods':
        methods = random.integers(len(ways[0]), size=len(ways[0]))
        return [way[methods].mean(1) for way in ways]
    return [way[:, random.integers(way.shape[1], size=way.shape[1])].mean(1) for way in ways]


def _tau_b(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b for few values, a hundred times as fast as SciPy's; nan if one way ties."""
    signs = [np.sign(way[:, None] - way) for way in (first, second)]
    pairs = np.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum())
    return float((signs[0] * signs[1]).sum() / pairs) if pairs else np.nan
