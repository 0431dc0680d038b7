"""Differences from a baseline: right on runs whose truth is known, and by hand."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mmseg_balance.experiments.differences import (
    ROW,
    UNDECIDED,
    _interval,
    differences,
    holm,
    score_differences,
    verdict,
)
from mmseg_balance.functional.per_image import PER_IMAGE_SCORES, per_image_scores
from tests.support.synthetic_runs import draw, true_differences

EFFECT, REPETITIONS, GROUPS = 0.8, 500, 16


@pytest.fixture(scope='module')
def repetitions():
    """Rows of many repetitions: method 0 is the baseline, 1 to 4 are its like, 5 is better."""
    random = np.random.default_rng(0)
    effects = [0, 0, 0, 0, 0, EFFECT]
    return [_compared(draw(random, effects, 5, GROUPS), number) for number in range(REPETITIONS)]


def _compared(drawn, seed):
    runs, groups = drawn
    return differences(runs, 0, groups, resamples=128, seed=seed)


def coverage(rows, method, score, truth):
    inside = [
        row['low'] <= truth <= row['high']
        for one in rows
        for row in one
        if row['method'] == method and row['score'] == score
    ]
    assert len(inside) == REPETITIONS
    return np.mean(inside)


def test_intervals_cover_the_truth(repetitions):
    truth = true_differences(EFFECT, GROUPS)
    assert min(truth.values()) > 0.005
    for score in PER_IMAGE_SCORES:
        assert 0.92 <= coverage(repetitions, 5, score, truth[score]) <= 0.98, score
        assert 0.92 <= coverage(repetitions, 1, score, 0) <= 0.98, score


def test_no_false_discoveries_without_effect(repetitions):
    for score in PER_IMAGE_SCORES:
        false = [
            any(
                verdict(row) != UNDECIDED
                for row in rows
                if row['score'] == score and row['method'] in (1, 2, 3, 4)
            )
            for rows in repetitions
        ]
        # The worst 5 % are 2 images here: see "Limits" in differences.py.
        assert np.mean(false) <= (0.06 if score == 'mIoU_worst5' else 0.05), score


def test_real_effects_are_found(repetitions):
    found = [
        verdict(row)
        for rows in repetitions
        for row in rows
        if row['score'] == 'mIoU_I' and row['method'] == 5
    ]
    assert found.count('higher') > 0.5 * REPETITIONS
    assert found.count('lower') == 0


def linear_coverage(seed, group, repetitions=REPETITIONS, seeds=5):
    """Coverage of the interval, and of percentiles of resampled seeds and 16 groups."""
    random = np.random.default_rng(5)
    covered = np.zeros(2)
    for _ in range(repetitions):
        effects = (
            seed * random.standard_normal((seeds, 1))
            + group * random.standard_normal((1, 16))
            + 0.2 * random.standard_normal((seeds, 16))
        )
        counts = random.multinomial(16, np.full(16, 1 / 16), 300) / 16
        on_groups = effects @ counts.T
        picked = random.multinomial(seeds, np.full(seeds, 1 / seeds), 300) / seeds
        both = (picked * on_groups.T).sum(1)
        paired = np.concatenate([effects.mean(1, keepdims=True), on_groups], 1)
        for place, ends in enumerate(
            (_interval(paired, 16, 0.95)[1:3], np.quantile(both, [0.025, 0.975]))
        ):
            covered[place] += ends[0] <= 0 <= ends[1]
    return covered / repetitions


@pytest.mark.parametrize(
    ('seed', 'group', 'most'),
    [(1, 0.2, 0.88), (0.2, 4, 0.945), (1, 4, 0.94)],
    ids=['seeds', 'groups', 'both'],
)
def test_percentiles_of_resampled_seeds_and_groups_are_too_narrow(seed, group, most):
    ours, percentiles = linear_coverage(seed, group)
    assert 0.92 <= ours <= 0.98
    assert percentiles < most


@pytest.mark.parametrize(('seeds', 'least'), [(2, 0.86), (3, 0.9)])
def test_few_seeds_cover_less_where_they_dominate(seeds, least):
    """See "Limits" in differences.py."""
    ours, percentiles = linear_coverage(1, 0.5, seeds=seeds)
    assert least <= ours <= 0.95
    assert percentiles < ours


def constant(accuracies):
    """One image of 1000 pixels per accuracy, two classes alike."""
    hit = 500 * np.asarray(accuracies, float)
    return np.stack([hit, 500 - hit, 500 - hit, hit], -1).reshape(-1, 2, 2)


def test_interval_by_hand():
    # Accuracy differs by .1, .2 and .3 in every image: no variance over groups.
    runs = dict(
        ce={s: constant([0.5] * 4) for s in range(3)},
        dice={s: constant([0.6 + 0.1 * s] * 4) for s in range(3)},
    )
    row = next(row for row in differences(runs, 'ce', [0, 0, 1, 1]) if row['score'] == 'acc')
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert (row['mean'], row['low'], row['high']) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    assert row['p_holm'] == pytest.approx(stats.ttest_1samp([0.1, 0.2, 0.3], 0).pvalue)
    assert (row['seeds'], row['groups'], row['split']) == (3, 2, 'test')
    assert tuple(row) == ROW


def test_groups_alone_by_hand():
    # All seeds alike, groups differ: the variance is that of a mean of 8 groups.
    effect = np.array([0.0, 0.1, 0.2, 0.1, 0.3, 0.0, 0.1, 0.2])
    runs = dict(
        ce={s: constant([0.5] * 8) for s in range(50)},
        dice={s: constant(0.5 + effect) for s in range(50)},
    )
    row = next(
        row for row in differences(runs, 'ce', range(8), resamples=20_000) if row['score'] == 'acc'
    )
    low, high = stats.t.interval(0.95, 7, effect.mean(), stats.sem(effect))
    assert [row['low'], row['high']] == pytest.approx([low, high], abs=0.003)


def test_groups_that_vary_together_widen_the_interval():
    random = np.random.default_rng(0)
    effect = np.repeat(random.normal(0, 0.1, 10), 10)
    runs = dict(
        ce={s: constant([0.5] * 100) for s in range(3)},
        dice={s: constant(0.5 + effect) for s in range(3)},
    )
    widths = [
        row['high'] - row['low']
        for groups in (range(100), np.repeat(range(10), 10))
        for row in differences(runs, 'ce', groups)
        if row['score'] == 'acc'
    ]
    assert widths[1] > 2.5 * widths[0]


def test_pairs_the_seeds_in_common_and_is_the_difference_of_the_scores():
    random = np.random.default_rng(3)
    runs, groups = draw(random, [0, 0.2], 4, 5)
    del runs[0][1], runs[1][2]
    rows = differences(runs, 0, groups, resamples=10, class_groups=dict(rare=[2]))
    assert [row['score'] for row in rows] == [*PER_IMAGE_SCORES, 'mIoU_rare']
    for row in rows:
        scores = [
            [per_image_scores(runs[method][seed], dict(rare=[2]))[row['score']] for seed in (0, 3)]
            for method in (0, 1)
        ]
        assert row['mean'] == pytest.approx(np.mean(scores[1]) - np.mean(scores[0]))
        assert row['seeds'] == 2


def test_same_seed_same_rows():
    drawn = draw(np.random.default_rng(4), [0, 0.2], 2, 5)
    assert _compared(drawn, 1) == _compared(drawn, 1)
    assert _compared(drawn, 1) != _compared(drawn, 2)


def test_what_has_no_interval():
    one = dict(ce={0: constant([0.5, 0.6])}, dice={0: constant([0.6, 0.8])})
    two = {method: dict(enumerate([runs[0], runs[0]])) for method, runs in one.items()}
    for rows in (differences(one, 'ce', [0, 1]), differences(two, 'ce', [0, 0])):
        row = rows[-1]
        assert row['mean'] == pytest.approx(0.15)
        assert np.isnan([row['low'], row['high'], row['p_holm']]).all()
        assert verdict(row) == UNDECIDED
    same = differences(dict(ce=two['ce'], again=two['ce']), 'ce', [0, 1])[-1]
    assert (same['mean'], same['low'], same['high'], same['p_holm']) == (0, 0, 0, 1)
    absent = differences(two, 'ce', [0, 1], class_groups=dict(none=[]))[-1]
    assert np.isnan([absent[key] for key in ('mean', 'low', 'high', 'p_holm')]).all()


def test_scores_of_runs_are_a_paired_t_test():
    random = np.random.default_rng(6)
    values = {method: random.random(5) for method in ('ce', 'a', 'b')}
    rows = score_differences(
        {method: {s: dict(cal=v) for s, v in enumerate(of)} for method, of in values.items()}, 'ce'
    )
    p_values = [stats.ttest_rel(values[name], values['ce']).pvalue for name in 'ab']
    assert [row['p_holm'] for row in rows] == pytest.approx(
        multipletests(p_values, method='holm')[1]
    )
    test = stats.ttest_rel(values['a'], values['ce']).confidence_interval(0.95)
    assert (rows[0]['low'], rows[0]['high']) == pytest.approx((test.low, test.high))
    assert rows[0]['groups'] == 0


@pytest.mark.parametrize('tests', [1, 2, 9])
def test_holm_is_that_of_statsmodels(tests):
    p_values = np.random.default_rng(tests).random(tests) ** 3
    p_values[-1] = p_values[0]
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method='holm')[1])
    with_nan = holm(np.insert(p_values, 1, np.nan))
    np.testing.assert_array_equal(np.delete(with_nan, 1), holm(p_values))
    assert np.isnan(with_nan[1])


def test_holm_over_the_methods_for_each_score_apart():
    runs, groups = draw(np.random.default_rng(7), [0, 0.3, 0.2, 0.1], 3, 6)
    alone = [differences({0: runs[0], method: runs[method]}, 0, groups) for method in (1, 2, 3)]
    together = differences(runs, 0, groups)
    for place, score in enumerate(PER_IMAGE_SCORES):
        expected = multipletests([rows[place]['p_holm'] for rows in alone], method='holm')[1]
        found = [row['p_holm'] for row in together if row['score'] == score]
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(baseline='focal'), "baseline is 'focal', not one of the methods ce, dice"),
        (dict(groups=[0, 1, 2]), 'ce, seed 0 has 2 images and groups 3'),
        (dict(level=95), r'level is 95; it is a fraction'),
        (dict(resamples=1), 'resamples is 1'),
        (dict(runs=dict(ce={0: constant([1])}, dice={1: constant([1])})), 'none in common'),
    ],
)
def test_refuses(changes, message):
    runs = {method: {0: constant([0.5, 0.6])} for method in ('ce', 'dice')}
    with pytest.raises(ValueError, match=message):
        differences(**dict(runs=runs, baseline='ce', groups=[0, 1]) | changes)
