"""Class weights: the rules by their papers' formulas, and every form a config may take."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmseg_balance.functional.class_weights import RULES, class_priors, class_weights
from mmseg_balance.losses.class_weight import ClassWeight
from mmseg_balance.statistics import ClassStatistics

COUNTS = SimpleNamespace(
    pixels=np.array([600, 300, 90, 10, 0]),
    images=np.array([10, 10, 3, 1, 0]),
    image_pixels=np.array([1000, 1000, 300, 100, 0]),
)
LOGITS = torch.zeros(1, 3, 1, 1)


def test_inverse_frequency_sums_to_the_classes_that_occur():
    weights = class_weights('inverse_frequency', COUNTS)
    assert weights.sum() == pytest.approx(4)
    assert weights[0] / weights[3] == pytest.approx(10 / 600)
    assert weights[4] == 0


def test_median_frequency():
    frequency = [600 / 1000, 300 / 1000, 90 / 300, 10 / 100]
    expected = [0.3 / f for f in frequency] + [0]
    assert class_weights('median_frequency', COUNTS) == pytest.approx(expected)


@pytest.mark.parametrize('unit', ['images', 'pixels'])
def test_effective_number(unit):
    beta, samples = 0.9, getattr(COUNTS, unit)[:4]
    raw = [(1 - beta) / (1 - beta**n) for n in samples]
    expected = [4 * w / sum(raw) for w in raw] + [0]
    assert class_weights('effective_number', COUNTS, beta=beta, unit=unit) == pytest.approx(
        expected
    )
    assert class_weights('effective_number', COUNTS, beta=0.0) == pytest.approx([1, 1, 1, 1, 0])


def test_enet():
    assert class_weights('enet', COUNTS)[[0, 4]] == pytest.approx(
        [1 / math.log(1.02 + 0.6), 1 / math.log(1.02)]
    )


def test_priors_are_positive_and_sum_to_one():
    priors = class_priors(COUNTS)
    assert priors.sum() == pytest.approx(1)
    assert priors[4] == pytest.approx(1 / 1001)


def test_unknown_rule_lists_the_known():
    with pytest.raises(ValueError, match="'inverse' is unknown; there are " + ', '.join(RULES)):
        class_weights('inverse', COUNTS)


@pytest.mark.parametrize(
    ('rule', 'options', 'message'),
    [
        ('effective_number', dict(beta=1.0), r'beta=1.0 must be in \[0, 1\)'),
        ('effective_number', dict(unit='things'), "must be 'images' or 'pixels'"),
        ('enet', dict(offset=1.0), 'must be above 1'),
        ('enet', dict(beta=1.0), "unexpected keyword argument 'beta'"),
    ],
)
def test_bad_options(rule, options, message):
    with pytest.raises(ValueError, match=message):
        class_weights(rule, COUNTS, **options)


def test_none_and_list():
    assert ClassWeight(None)(LOGITS) is None
    assert ClassWeight([1, 2, 3])(LOGITS).tolist() == [1, 2, 3]
    assert ClassWeight([1, 2, 3])(LOGITS.half()).dtype == torch.float32
    assert ClassWeight([1, 2, 3])(LOGITS.double()).dtype == torch.float64


def test_file_with_a_list(tmp_path):
    path = tmp_path / 'weights.json'
    path.write_text(json.dumps([1.0, 2.0, 3.0]))
    assert ClassWeight(str(path))(LOGITS).tolist() == [1, 2, 3]


def test_statistics_file_and_rule(tmp_path):
    path = str(ClassStatistics.from_rows('abc', [[60, 30, 10]]).save(tmp_path / 'statistics.npz'))
    expected = torch.tensor([1 / 60, 1 / 30, 1 / 10])
    expected = 3 * expected / expected.sum()
    torch.testing.assert_close(ClassWeight(path)(LOGITS), expected)
    rule = dict(type='inverse_frequency', statistics=path)
    torch.testing.assert_close(ClassWeight(rule)(LOGITS), expected)
    enet = dict(type='enet', statistics=path, offset=1.5)
    assert ClassWeight(enet)(LOGITS)[0].item() == pytest.approx(1 / math.log(2.1))


def test_auto_outside_a_run_says_so():
    weight = ClassWeight(dict(type='inverse_frequency', statistics='auto'))
    with pytest.raises(RuntimeError, match='auto'):
        weight(LOGITS)


@pytest.mark.parametrize('spec', [5, [[1.0]], ['a'], []])
def test_what_is_no_list(spec):
    with pytest.raises(TypeError, match='is not a list of numbers'):
        ClassWeight(spec)


@pytest.mark.parametrize('spec', [[-1.0, 1.0], [float('nan'), 1.0], [0.0, 0.0]])
def test_numbers_that_cannot_be_weights(spec):
    with pytest.raises(ValueError, match='must be finite'):
        ClassWeight(spec)


def test_rule_without_statistics():
    with pytest.raises(ValueError, match="lacks 'type' or 'statistics'"):
        ClassWeight(dict(type='enet'))


def test_a_misspelt_rule_is_refused_when_the_loss_is_built():
    with pytest.raises(ValueError, match="'inverse' is unknown; there are "):
        ClassWeight(dict(type='inverse', statistics='auto'))
