"""What dev recommends, and what test says of it."""

import numpy as np
import pytest

from mmseg_balance.experiments.differences import score_differences
from mmseg_balance.experiments.recommendation import SCORES, all_differences, recommend
from mmseg_balance.experiments.results import plain
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


def with_seeds(score: str, **values: dict) -> dict:
    """Results of methods whose score is given seed by seed, the same on dev and test."""
    runs = [
        dict(method=name, seed=seed, split=split, scores={score: value})
        for split in ('dev', 'test')
        for name, of in values.items()
        for seed, value in of.items()
    ]
    return {'runs': runs, 'differences': []}


def test_a_seed_that_one_method_lacks_chooses_nothing():
    """dice had the better mean, since it lacked the seed that was hard for every method."""
    found = recommend(with_seeds('mIoU', ce={0: 0.5, 1: 0.4}, dice={0: 0.49}), 'mIoU')
    assert found['method'] == 'ce'
    assert found['text'] == [
        'By mIoU on dev, ce is first of 2 methods (45.0; ce 45.0).',
        'No method is above ce on dev: keep ce.',
        'Compared with ce on the seeds that both have: dice (0).',
    ]


def test_a_better_method_that_lacks_a_seed_is_chosen_by_its_difference():
    found = recommend(with_seeds('ECE', ce={0: 0.5, 1: 0.3}, dice={1: 0.28, 2: 0.9}), 'ECE')
    assert (found['method'], found['dev']) == ('dice', pytest.approx(0.4 - 0.02))
    assert found['test'] == found['dev']


def test_a_method_without_a_seed_in_common_is_not_chosen():
    """It was first by another seed, and the page said nothing of test."""
    text = recommend(with_seeds('mIoU', ce={0: 0.4}, dice={1: 0.5}), 'mIoU')['text']
    assert text == [
        'On dev ce is the only method to compare by mIoU: 40.0.',
        'Not compared, for want of a seed in common with ce: dice.',
    ]


@pytest.mark.parametrize('name', ['checkpoint', 'checkpoint + iou'])
def test_the_checkpoint_is_not_recommended_with_any_decision(name):
    """With a decision it was, though nothing was trained."""
    found = recommend(with_seeds('mIoU', ce={0: 0.4}, **{name: {None: 0.5}}), 'mIoU')
    assert found['method'] == 'ce'
    assert name not in ' '.join(found['text'])


def write_decisions(work_dir) -> dict:
    """Results of two methods with three seeds and a checkpoint with two decisions."""
    for method, seeds in {
        'ce': (0, 1, 2),
        'dice': (0, 1, 2),
        'checkpoint': (None,),
        'checkpoint + iou': (None,),
    }.items():
        for seed in seeds:
            write_run(work_dir, method, 9 if seed is None else seed).update_state(seed=seed)
    return write_results(work_dir, ['ce', 'dice', 'checkpoint'])


def test_two_decisions_of_the_checkpoint_are_one_pair(tmp_path):
    """One network stood for every seed: differences were certain, with p values of 0."""
    results = write_decisions(tmp_path)
    rows = [row for row in results['differences'] if row['baseline'] == 'checkpoint']
    pairs = [row for row in rows if row['method'] == 'checkpoint + iou']
    assert {row['score'] for row in pairs} >= {'mIoU', 'S_acc'}
    for row in pairs:
        assert (row['seeds'], row['low'], row['high'], row['p_holm']) == (1, None, None, None)
    scores = {run['method']: run['scores']['mIoU'] for run in results['runs']}
    (row,) = [row for row in pairs if row['score'] == 'mIoU']
    assert row['mean'] == pytest.approx(scores['checkpoint + iou'] - scores['checkpoint'])


def test_a_pair_without_a_p_value_is_not_among_holm_s(tmp_path):
    """A decision leaves calibration as it is: its p of 1 made those of the methods larger."""
    results = write_decisions(tmp_path)
    for run in results['runs']:
        if run['seed'] is None:
            run['scores']['cal'] = 0.5

    def of_methods(runs):
        rows = all_differences({**results, 'runs': runs}, tmp_path, 'images', 20)
        return [
            row
            for row in plain(rows)
            if row['baseline'] == 'checkpoint' and row['method'] in ('ce', 'dice')
        ]

    alone = [run for run in results['runs'] if run['method'] != 'checkpoint + iou']
    assert of_methods(results['runs']) == of_methods(alone)
    assert {row['seeds'] for row in of_methods(alone)} == {3}


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
