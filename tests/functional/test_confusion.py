"""Confusion matrix and its scores against counting by hand, scikit-learn's formulas and limits."""

import numpy as np
import pytest
import torch

from mmseg_balance.functional.confusion import (
    confusion_matrix,
    confusion_scores,
    frequency_groups,
    group_means,
)
from tests.support import references_metrics as reference


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
def test_counts(dtype):
    labels = torch.randint(0, 5, (2, 9, 7))
    labels[:, :2] = 255
    pred = torch.randint(0, 5, (2, 9, 7))
    matrix = confusion_matrix(pred.to(dtype), labels.to(dtype), 5)
    assert matrix.tolist() == reference.confusion(pred, labels, 5)
    assert matrix.dtype == torch.int64


def test_another_ignore_index_and_no_valid_pixel():
    labels = torch.full((3, 3), 11)
    assert confusion_matrix(torch.zeros_like(labels), labels, 11, ignore_index=11).sum() == 0


@pytest.mark.parametrize(
    ('pred', 'labels', 'message'),
    [
        (
            [0, 1],
            [0, 2],
            'labels: label 2 .1 pixels. is neither one of the 2 classes, 0 to 1, nor the ignored 255',
        ),
        ([0, 1], [0, -1], 'labels: label -1'),
        ([0, 5], [0, 1], 'pred: label 5'),
        ([0, 255], [0, 1], 'pred: label 255'),  # ignored in labels only
        ([0, 1, 1], [0, 1], r'pred has shape \(3,\) and labels \(2,\)'),
    ],
)
def test_refuses(pred, labels, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(torch.tensor(pred), torch.tensor(labels), 2)


def test_labels_of_one_byte_with_an_ignored_label_that_they_cannot_hold():
    """255 was taken for -1, which is 255 in a byte."""
    labels = torch.tensor([0, 255], dtype=torch.uint8)
    with pytest.raises(ValueError, match='labels: label 255'):
        confusion_matrix(torch.zeros_like(labels), labels, 2, ignore_index=-1)


def test_scores_by_hand():
    # 10 pixels: class 0 has 5, 4 found; class 1 has 3, 1 found; class 2 has 2, all found.
    scores = confusion_scores(np.array([[4, 1, 0], [1, 1, 1], [0, 0, 2]]))
    assert scores['acc'] == pytest.approx(7 / 10)
    assert scores['recall'] == pytest.approx([4 / 5, 1 / 3, 1])
    assert scores['precision'] == pytest.approx([4 / 5, 1 / 2, 2 / 3])
    # F1 = 2 hits / (labelled + predicted)
    assert scores['F1'] == pytest.approx([8 / 10, 2 / 5, 4 / 5])
    assert scores['IoU'] == pytest.approx([4 / 6, 1 / 4, 2 / 3])
    assert scores['mRecall'] == pytest.approx((4 / 5 + 1 / 3 + 1) / 3)
    assert scores['mF1'] == pytest.approx((8 / 10 + 2 / 5 + 4 / 5) / 3)
    assert scores['mIoU'] == pytest.approx((4 / 6 + 1 / 4 + 2 / 3) / 3)
    assert scores['FWIoU'] == pytest.approx(0.5 * 4 / 6 + 0.3 / 4 + 0.2 * 2 / 3)
    chance = (5 * 5 + 3 * 2 + 2 * 3) / 100
    assert scores['kappa'] == pytest.approx((0.7 - chance) / (1 - chance))
    assert scores['ignored'] == 0


def test_an_ignored_class_makes_f1_nan_and_is_counted():
    scores = confusion_scores(np.array([[8, 0, 1], [2, 0, 0], [0, 1, 3]]))
    assert np.isnan(scores['mF1'])
    assert scores['ignored'] == 1
    assert scores['mRecall'] == pytest.approx((8 / 9 + 0 + 3 / 4) / 3)
    assert np.isfinite(scores['mIoU'])


def test_absent_classes():
    # Class 1 is neither labelled nor predicted; class 2 is predicted without being there.
    scores = confusion_scores(np.array([[8, 0, 2], [0, 0, 0], [0, 0, 0]]))
    assert scores['mRecall'] == scores['recall'][0] == 0.8
    assert np.isnan(scores['recall'][1:]).all()
    assert np.isnan(scores['IoU'][1])
    assert scores['IoU'][2] == 0
    assert scores['mIoU'] == pytest.approx(0.8 / 2)
    assert scores['ignored'] == 0
    assert scores['mF1'] == pytest.approx(16 / 18)


def test_nothing_counted_is_nan():
    scores = confusion_scores(np.zeros((3, 3), np.int64))
    means = [value for name, value in scores.items() if name != 'ignored']
    assert all(np.isnan(value).all() for value in means)


def test_counts_beyond_float32():
    # 2^31 pixels, one of them wrong: a float32 sum would not see it.
    scores = confusion_scores(np.array([[2**31, 1], [0, 2**31]]))
    assert scores['acc'] == 1 - 1 / (2**32 + 1)
    assert scores['acc'] < 1


def test_groups_are_thirds_by_pixels():
    groups = frequency_groups([7, 0, 50, 3, 90, 3, 20, 1, 2])
    assert groups == {'head': [4, 2, 6], 'body': [0, 3], 'tail': [5, 8, 7]}
    assert frequency_groups([4, 9]) == {'head': [1], 'tail': [0]}
    assert frequency_groups([0, 9]) == {'head': [1]}
    assert frequency_groups([0, 0]) == {}
    sizes = [len(group) for group in frequency_groups(range(1, 20)).values()]
    assert sizes == [7, 6, 6]


def test_group_means_leave_out_nan():
    means = group_means(np.array([0.2, np.nan, 0.6]), {'a': [0, 1, 2], 'b': [1], 'c': []})
    assert means['a'] == pytest.approx(0.4)
    assert np.isnan(means['b'])
    assert np.isnan(means['c'])
