"""Scores from per-image confusion matrices against counting one image and class at a time."""

import numpy as np
import pytest
import torch

from mmseg_balance.functional.confusion import confusion_scores
from mmseg_balance.functional.per_image import (
    PER_IMAGE_SCORES,
    image_iou,
    per_image_scores,
    resampled_scores,
)
from tests.support import references_metrics as reference


def confusions(images=47, classes=6, seed=0):
    """Images of few classes each; the last class is nowhere, an image has no valid pixel."""
    random = np.random.default_rng(seed)
    made = random.integers(0, 50, (images, classes, classes))
    absent = random.random((images, classes)) < 0.5
    made[absent] = 0
    made[:, :, :-1] *= ~absent[:, None, :-1]
    made[:, -1] = made[:, :, -1] = 0
    made[3] = 0
    return made


@pytest.mark.parametrize('images', [4, 19, 20, 47, 100])
@pytest.mark.parametrize('container', [np.asarray, torch.from_numpy])
def test_scores_are_those_of_a_loop(images, container):
    made = confusions(images)
    expected = reference.per_image(made.tolist())
    scores = per_image_scores(container(made))
    assert tuple(scores) == PER_IMAGE_SCORES == tuple(expected)
    assert scores == pytest.approx(expected, rel=1e-12)


def test_scores_over_the_data_set_are_those_of_the_sum():
    made = confusions()
    scores, whole = per_image_scores(made), confusion_scores(made.sum(0))
    assert [scores[name] for name in ('mIoU', 'mRecall', 'acc')] == pytest.approx(
        [whole[name] for name in ('mIoU', 'mRecall', 'acc')], rel=1e-14
    )


def test_a_class_that_is_only_predicted_is_of_the_image():
    matrix = np.array([[[5, 5, 0], [0, 0, 0], [0, 0, 0]]])
    np.testing.assert_array_equal(image_iou(matrix), [[0.5, 0, np.nan]])
    assert per_image_scores(matrix)['mIoU_I'] == 0.25


def test_worst_images_are_rounded_down_and_at_least_one():
    # 29 images whose IoU are 1/30 … 29/30: 10 % are two images, 5 % one.
    made = np.array([[[hit, 0], [0, 0]] for hit in range(1, 30)])
    made[:, 0, 1] = 30 - made[:, 0, 0]
    made[:, 1, 1] = 0
    scores = per_image_scores(made)
    image = image_iou(made).mean(1)
    assert scores['mIoU_worst10'] == pytest.approx(np.mean(np.sort(image)[:2]))
    assert scores['mIoU_worst5'] == pytest.approx(np.min(image))


@pytest.mark.parametrize('made', [np.zeros((0, 3, 3), int), np.zeros((4, 3, 3), int)])
def test_no_image_and_no_valid_pixel(made):
    assert all(np.isnan(value) for value in per_image_scores(made).values())


def test_large_counts_of_small_integers_do_not_overflow():
    made = np.full((3, 2, 2), 65535, np.uint16)
    assert per_image_scores(made)['acc'] == 0.5
    assert per_image_scores(made)['mIoU'] == pytest.approx(1 / 3)


def test_resamples_are_the_scores_of_repeated_images():
    made = confusions(40)
    random = np.random.default_rng(1)
    groups = random.integers(0, 7, 40)
    counts = random.multinomial(7, np.full(7, 1 / 7), 9)
    found = resampled_scores(made, counts, groups, dict(rare=[3, 4], nowhere=[5]))
    for index, count in enumerate(counts):
        expected = reference.per_image(np.repeat(made, count[groups], 0).tolist())
        assert {name: found[name][index] for name in expected} == pytest.approx(expected)
        iou = confusion_scores(np.repeat(made, count[groups], 0).sum(0))['IoU']
        assert found['mIoU_rare'][index] == pytest.approx(iou[3:5].mean())
        assert np.isnan(found['mIoU_nowhere'][index])


def test_refuses():
    with pytest.raises(ValueError, match=r'shape \(3, 3\), not \(images, C, C\)'):
        per_image_scores(np.zeros((3, 3)))
    with pytest.raises(ValueError, match='a group for each image'):
        resampled_scores(np.zeros((4, 2, 2)), np.ones((1, 3)), np.zeros(3, int))
