"""Differences from a baseline: right on runs whose truth is known, and by hand."""

import numpy as np
import pytest

from mmseg_balance.experiments.differences import UNDECIDED, differences, verdict
from mmseg_balance.functional.per_image import PER_IMAGE_SCORES
from tests.support.synthetic_runs import draw, true_differences

EFFECT, REPETITIONS, GROUPS = 0.3, 500, 16


@pytest.fixture(scope='module')
def repetitions():
    """Rows of many repetitions: method 0 is the baseline, 1 to 4 are its like, 5 is better."""
    random = np.random.default_rng(0)
    effects = [0, 0, 0, 0, 0, EFFECT]
    return [
        differences(*_named(*draw(random, effects, 5, GROUPS)), resamples=200, seed=number)
        for number in range(REPETITIONS)
    ]


def _named(runs, groups):
    return runs, 0, groups


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
        assert np.mean(false) <= 0.05, score


def test_real_effects_are_found(repetitions):
    found = [
        verdict(row)
        for rows in repetitions
        for row in rows
        if row['score'] == 'mIoU_I' and row['method'] == 5
    ]
    assert found.count('higher') > 0.5 * REPETITIONS
    assert found.count('lower') == 0
