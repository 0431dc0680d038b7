"""Mean ranks, critical differences and rank agreement."""

import numpy as np
import pytest
from scipy import stats

from mmseg_balance.experiments.ranks import critical_difference, mean_ranks, rank_agreement


@pytest.mark.parametrize(('methods', 'quantile'), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_that_of_demsars_table(methods, quantile):
    expected = quantile * np.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, 14) == pytest.approx(expected, rel=5e-4)
    assert critical_difference(methods, 14, 0.1) < expected


def test_mean_ranks_share_ties():
    assert mean_ranks([[3, 3, 1], [1, 2, 3]]).tolist() == [2.25, 1.75, 2]


def test_agreement_of_the_same_and_the_opposite_order():
    first = np.arange(6)[:, None] + np.zeros((6, 3))
    assert rank_agreement(first, first)['low'] == 1
    opposite = rank_agreement(first, -first[:, :1])
    assert (opposite['tau'], opposite['high']) == pytest.approx((-1, -1))


def test_tau_is_scipys_with_ties():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 4, (2, 12, 1))
    expected = stats.kendalltau(first[:, 0], second[:, 0])
    result = rank_agreement(first, second, resamples=200)
    assert (result['tau'], result['p']) == pytest.approx((expected.statistic, expected.pvalue))
    assert result['low'] < result['tau'] < result['high']
    # With one seed, nothing varies for these methods: every resample has the very same tau.
    fixed = rank_agreement(first, second, over='seeds', resamples=20)
    assert (fixed['low'], fixed['high']) == pytest.approx((expected.statistic,) * 2)


def test_interval_covers_no_agreement():
    random = np.random.default_rng(1)
    inside = 0
    for number in range(200):
        result = rank_agreement(*random.standard_normal((2, 12, 3)), resamples=100, seed=number)
        inside += result['low'] <= 0 <= result['high']
    assert 0.9 <= inside / 200 <= 0.99


def test_noisy_seeds_widen_the_interval():
    random = np.random.default_rng(2)
    quality, noise = np.arange(8)[:, None], random.standard_normal((8, 5))
    widths = []
    for size in (0.1, 3):
        result = rank_agreement(quality + size * noise, quality, over='seeds', resamples=300)
        widths.append(result['high'] - result['low'])
    assert widths[0] < 0.1 < widths[1]


def test_same_seed_same_interval():
    ways = np.random.default_rng(3).random((2, 5, 2))
    assert rank_agreement(*ways, seed=1) == rank_agreement(*ways, seed=1)


def test_refuses():
    with pytest.raises(ValueError, match='1 nan'):
        mean_ranks([[1, np.nan]])
    with pytest.raises(ValueError, match='methods is 1'):
        critical_difference(1, 3)
    with pytest.raises(ValueError, match='shapes'):
        rank_agreement([[1], [2]], [[1], [2], [3]])
    with pytest.raises(ValueError, match='over is'):
        rank_agreement([[1], [2]], [[1], [2]], over='images')
    with pytest.raises(ValueError, match='at least 2 methods'):
        rank_agreement([[1], [np.nan]], [[1], [2]])
