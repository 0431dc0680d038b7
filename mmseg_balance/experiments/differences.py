r"""Is a method better than the baseline? Paired differences with intervals and adjusted p values.

What goes in: for each method and seed the confusion matrices of the same images in the same order,
``(images, C, C)``, rows are labels and columns predictions (``stored_runs`` reads them from the
files of ``ImbalanceMetric(save=…)``), and ``(images,)`` groups of images that depend on each other
(``groups``). Scores that no confusion matrix gives, such as calibration, come as one number per
method and seed. What comes out: one dictionary for each method and score, with the keys of ``ROW``.

**The interval.** A difference varies for two reasons: other seeds, and other images. With
:math:`d_s` the difference of seed s on all images, S seeds and G groups,

.. math::
    \bar d \pm t_{\nu} \sqrt{V_S + V_G},\quad V_S = \frac{\mathrm{Var}_s(d_s)}{S},\quad
    V_G = \frac{G}{G-1} \mathrm{Var}_b(\bar d^{*b}),\quad
    \nu = \frac{(V_S + V_G)^2}{V_S^2 / (S - 1) + V_G^2 / (G - 1)}

where resample b draws G groups with replacement, the same for every method and seed, and
:math:`\bar d^{*b}` is the mean difference over the seeds on it; :math:`\nu` is Satterthwaite's.
The p value belongs to the same t, so that it is below 0.05 where the 95 % interval excludes 0.

**Why not percentiles.** Seeds and images are crossed: all networks see the same images. Resampling
both and taking percentiles is too narrow, since 5 seeds resampled vary 4/5 as much as 5 seeds do
and percentiles lack the tails of t; drawing other images for each seed narrows it further. In
simulations (5 seeds, 16 groups, normal effects, 2000 repetitions of ``linear_coverage`` in
``tests/experiments/test_differences.py``) such a 95 % interval covered the truth in 83 % of the repetitions
where seeds dominate and in 92 % where groups dominate or both matter; the interval above in 94, 95
and 95 %. Studentised resampling covers about as often, with intervals several times as wide where
seeds are few.

**Limits.** Effects of one seed on one group alone are in both variances: where they dominate, the
interval is too wide, never too narrow. Two or three seeds are too few where seeds dominate, since
their variance is often far too small: with seed effects of standard deviation 1, group effects of
0.2 to 1 and 16 groups, 4000 repetitions of ``linear_coverage`` covered 89 to 91 % with 2 seeds,
92 to 93 % with 3, 94 % with 5 (where groups dominate 95 % with any); a verdict from two seeds is
provisional. Five seeds do not show whether their effects are far from normal; where they are, the
interval is too narrow. So it is for ``mIoU_worst5``, which rests on few groups: on the
synthetic runs of the tests (16 groups of 3 or 6 images) it covered 90 to 95 % and had false
discoveries in 5.6 % of the repetitions, where the other scores kept to 5 %.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtr, stdtrit

from mmseg_balance.functional.per_image import draw_resamples, resampled_scores

ROW = ('method', 'baseline', 'score', 'split', 'mean', 'low', 'high', 'p_holm', 'seeds', 'groups')
UNDECIDED = 'not significant'


def differences(
    runs: Mapping[str, Mapping[int, np.ndarray]],
    baseline: str,
    groups: Sequence | np.ndarray,
    *,
    split: str = 'test',
    class_groups: Mapping[str, Sequence[int]] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict]:
    """Paired difference of every method from the baseline, for every score of confusion matrices.

    Convention:
        - method and baseline are compared on the seeds that both have;
        - Holm's adjustment is over the methods, for each score apart; intervals are not adjusted;
        - with one seed, or all images in one group, there is a mean but no interval and no p value:
          ``low``, ``high`` and ``p_holm`` are nan. Equal scores everywhere give p = 1;
        - a score that is nan in a run (no class of a class group) gives a row of nan; resamples in
          which a score is nan are left out;
        - the same arguments give the same numbers.

    Args:
        runs: ``runs[method][seed]`` is ``(images, C, C)`` counts.
        baseline: The method that the others are compared with.
        groups: ``(images,)`` label of the group of each image, see ``groups``.
        split: Copied into the rows.
        class_groups: Class indices by name, adds ``mIoU_NAME``; see
            :func:`~mmseg_balance.functional.per_image.per_image_scores`.
        resamples: Draws of the groups.
        level: Confidence level of the intervals.
        seed: Seed of the draws.

    Returns:
        Rows with the keys ``ROW``, methods in the order of ``runs`` without the baseline, then
        scores. ``mean``, ``low`` and ``high`` are fractions, ``seeds`` and ``groups`` numbers.

    Raises:
        ValueError: no such baseline, no seed in common, images that differ in number, a level
            outside (0, 1), fewer than two resamples.

    Example:
        >>> random = np.random.default_rng(0)
        >>> def run(recall):  # 20 images of 100 pixels of each of two classes
        ...     hit = random.binomial(100, recall, 20)
        ...     return np.stack([hit, 100 - hit, 100 - hit, hit], 1).reshape(20, 2, 2)
        >>> runs = {method: {seed: run(recall) for seed in range(3)}
        ...         for method, recall in (('ce', .7), ('dice', .8))}
        >>> rows = differences(runs, 'ce', groups=range(20))
        >>> row = rows[-1]
        >>> row['method'], row['score'], round(row['mean'], 2), row['seeds'], verdict(row)
        ('dice', 'acc', 0.09, 3, 'higher')

    Reference:
        Satterthwaite, "An Approximate Distribution of Estimates of Variance Components", 1946;
        Owen, "The Pigeonhole Bootstrap", 2007, on resampling crossed factors; Holm, "A Simple
        Sequentially Rejective Multiple Test Procedure", 1979.
    """
    _check(runs, baseline, level)
    if resamples < 2:
        raise ValueError(f'resamples is {resamples}; a variance needs at least 2, better 2000.')
    index, number = _group_indices(runs, groups)
    counts = draw_resamples(number, resamples, seed)
    scores = {
        method: {
            seed: resampled_scores(confusions, counts, index, class_groups)
            for seed, confusions in seeds.items()
        }
        for method, seeds in runs.items()
    }
    return _rows(scores, baseline, split, number, level)


def score_differences(
    scores: Mapping[str, Mapping[int, Mapping[str, float]]],
    baseline: str,
    *,
    split: str = 'test',
    level: float = 0.95,
) -> list[dict]:
    """The same for scores of which only one number per run is known, such as calibration.

    Convention: as :func:`differences`, but the intervals say how the difference varies over seeds
    alone, a paired t interval; ``groups`` is 0 in these rows.

    Args:
        scores: ``scores[method][seed][score]``; the baseline's scores are compared.
        baseline, split, level: See :func:`differences`.

    Returns:
        Rows as of :func:`differences`, in the unit of the scores.

    Raises:
        ValueError: no such baseline, no seed in common, a level outside (0, 1).

    Example:
        >>> scores = {'ce': {0: {'cal': .8}, 1: {'cal': .82}},
        ...           'dice': {0: {'cal': .7}, 1: {'cal': .74}}}
        >>> row, = score_differences(scores, 'ce')
        >>> round(row['mean'], 3), round(row['low'], 3), round(row['high'], 3)
        (-0.09, -0.217, 0.037)
    """
    _check(scores, baseline, level)
    arrays = {
        method: {
            seed: {name: np.array([value], np.float64) for name, value in named.items()}
            for seed, named in seeds.items()
        }
        for method, seeds in scores.items()
    }
    return _rows(arrays, baseline, split, 0, level)


def verdict(row: Mapping, alpha: float = 0.05) -> str:
    """What a row of differences says: ``'higher'``, ``'lower'``, or ``UNDECIDED``.

    Convention: by the p value that is adjusted over the methods, so an interval may exclude zero
    and the difference still not be significant; nan is not significant.

    Example:
        >>> verdict(dict(mean=.02, p_holm=.01)), verdict(dict(mean=.02, p_holm=.3))
        ('higher', 'not significant')
    """
    if not row['p_holm'] < alpha:
        return UNDECIDED
    return 'higher' if row['mean'] > 0 else 'lower'


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    r"""P values adjusted so that one wrong rejection among all of them is as rare as of one.

    .. math:: \tilde p_{(i)} = \min\left(1, \max_{j \le i} (m - j + 1) p_{(j)}\right)

    Convention: nan is no test: it stays nan and does not count among the m.

    Args:
        p_values: ``(tests,)``.

    Example:
        >>> holm([.01, .04, float('nan'), .03])
        array([0.03, 0.06,  nan, 0.06])

    Reference:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979. Written here since
        statsmodels' ``multipletests`` runs Python's garbage collector in every call, 0.2 s or more.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind='stable')
    order = order[~np.isnan(p_values[order])]
    adjusted = np.full(len(p_values), np.nan)
    steps = np.arange(len(order), 0, -1) * p_values[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def _check(runs: Mapping, baseline: str, level: float) -> None:
    if baseline not in runs:
        raise ValueError(f'baseline is {baseline!r}, not one of the methods {", ".join(runs)}.')
    for method, seeds in runs.items():
        if not set(seeds) & set(runs[baseline]):
            raise ValueError(
                f'{method} has the seeds {sorted(seeds)} and {baseline} {sorted(runs[baseline])}: '
                'none in common, so nothing to pair; run both with the same seeds.'
            )
    if not 0 < level < 1:
        raise ValueError(f'level is {level}; it is a fraction in (0, 1), such as 0.95.')


def _group_indices(runs: Mapping, groups: Sequence | np.ndarray) -> tuple[np.ndarray, int]:
    """Groups numbered from 0, and how many there are."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    for method, seeds in runs.items():
        for seed, confusions in seeds.items():
            if len(confusions) != len(index):
                raise ValueError(
                    f'{method}, seed {seed} has {len(confusions)} images and groups {len(index)}; '
                    'all runs must have the same images, and groups a label for each.'
                )
    return index, len(names)


def _rows(scores: Mapping, baseline: str, split: str, groups: int, level: float) -> list[dict]:
    """Rows from ``scores[method][seed][score]``: on the data, then on each resample of groups."""
    rows = []
    for method in scores:
        if method == baseline:
            continue
        seeds = [seed for seed in scores[method] if seed in scores[baseline]]
        for name in next(iter(scores[baseline].values())):
            paired = np.array(
                [scores[method][seed][name] - scores[baseline][seed][name] for seed in seeds]
            )
            mean, low, high, p = _interval(paired, groups, level)
            rows.append(
                dict(
                    zip(
                        ROW,
                        (method, baseline, name, split, mean, low, high, p, len(seeds), groups),
                        strict=True,
                    )
                )
            )
    for name in {row['score'] for row in rows}:
        family = [row for row in rows if row['score'] == name]
        for row, p in zip(family, holm([row['p_holm'] for row in family]), strict=True):
            row['p_holm'] = float(p)
    return rows


def _interval(paired: np.ndarray, groups: int, level: float) -> tuple[float, float, float, float]:
    """Mean, interval and p value from ``(seeds, 1 + resamples)``; groups 0: no resamples."""
    seeds, mean = len(paired), float(paired[:, 0].mean())
    resampled = paired[:, 1:].mean(0)
    resampled = resampled[np.isfinite(resampled)]
    if np.isnan(mean) or seeds < 2 or groups == 1 or (groups and len(resampled) < 2):
        return mean, np.nan, np.nan, np.nan
    parts = [(paired[:, 0].var(ddof=1) / seeds, seeds - 1)]
    if groups:
        parts.append((resampled.var() * groups / (groups - 1), groups - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return mean, mean, mean, float(mean == 0)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance)
    p = 2 * stdtr(freedom, -abs(mean) / np.sqrt(variance))
    return mean, float(mean - half), float(mean + half), float(p)
