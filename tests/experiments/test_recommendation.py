"""What dev recommends, and what test says of it."""

import numpy as np
import pytest

from mmseg_balance.experiments.differences import score_differences
from mmseg_balance.experiments.recommendation import SCORES, all_differences, recommend
from tests.support.comparison_samples import write_results, write_run


def results_of(score: str, **methods: float) -> dict:
    """Three seeds, which differ a little; a method with nan is undefined."""
    runs, rows = [], []
    values = {
        method: {seed: {score: value + 0.001 * seed**2} for seed in range(3)}
        for method, value in methods.items()
    }
    for split in ('dev', 'test'):
        runs += [
            dict(method=method, seed=seed, split=split, scores=scores)
            for method, seeds in values.items()
            for seed, scores in seeds.items()
        ]
        rows += score_differences(values, next(iter(values)), split=split)
    return {'runs': runs, 'differences': rows}


def test_a_baseline_without_the_score_is_still_the_baseline():
    """The first method with a number once took its place, and the page said to keep that."""
    found = recommend(results_of('mF1', ce=np.nan, dice=0.6, lmp=0.5), 'mF1')
    assert (found['baseline'], found['method'], found['confirmed']) == ('ce', 'dice', False)
    text = ' '.join(found['text'])
    assert 'dice is first of 2 methods (60.2; ce n/a)' in text
    assert 'mF1 is not defined for ce' in text
    assert 'keep' not in text
    assert 'nan' not in text


def test_one_method_is_not_said_to_be_first_of_1_methods():
    text = recommend(results_of('mIoU', ce=0.6), 'mIoU')['text']
    assert text == ['On dev ce is the only method with mIoU: 60.2.']


def test_keeping_the_baseline_names_the_methods_without_the_score():
    text = recommend(results_of('mF1', ce=0.6, dice=0.5, lmp=np.nan), 'mF1')['text']
    assert 'On dev mF1 is not defined for lmp.' in text
    assert 'No method is above ce on dev: keep ce.' in text


@pytest.mark.parametrize('score', ['mF1', 'FWIoU', 'kappa', 'MCE', 'cwECE'])
def test_what_can_be_chosen_by_can_be_confirmed(tmp_path, score):
    """These had no rows of differences."""
    assert score in SCORES
    for method in ('ce', 'dice'):
        for seed in (0, 1, 2):
            write_run(tmp_path, method, seed)
    results = write_results(tmp_path, ['ce', 'dice'])
    for run in results['runs']:
        run['scores'][score] = 0.2 * (run['method'] == 'dice') + 0.001 * run['seed'] ** 2
    (row,) = [
        row for row in all_differences(results, tmp_path, 'images', 2) if row['score'] == score
    ]
    assert row['mean'] == pytest.approx(0.2)
    assert row['groups'] == 0
