"""Boundary IoU and clDice: against slow oracles, the authors' erosion, and over ranks."""

import builtins
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from skimage.morphology import skeletonize

from mmseg_balance.functional.boundary import (
    boundary_iou,
    boundary_pixels,
    boundary_sums,
    centerline_counts,
    centerline_dice,
)
from mmseg_balance.metrics import BoundaryMetric
from tests.support import references_boundary as reference
from tests.support.ranks import run_ranks

CLASSES = ('road', 'tree', 'pole')
THIN = ('pole', 'tree')


def regions(seed, size=(24, 33), ignored=True):
    """Prediction and label with regions of a few pixels; a corner and some pixels ignored."""
    rng = np.random.default_rng(seed)
    rows, columns = -(-size[0] // 5), -(-size[1] // 5)
    labels = np.kron(rng.integers(0, 3, (rows, columns)), np.ones((5, 5), int))
    labels = labels[: size[0], : size[1]]
    pred = np.roll(labels, (1, 2), (0, 1))
    pred[rng.random(size) < 0.05] = 0
    if ignored:
        labels = labels.copy()
        labels[:7, :9] = 255
        labels[rng.random(size) < 0.05] = 255
    return pred, labels


@pytest.mark.parametrize('distance', [1, 2, 3, 6, 40])
@pytest.mark.parametrize('ignored', [False, True])
def test_boundary_pixels(distance, ignored):
    _, labels = regions(0, ignored=ignored)
    found = boundary_pixels(torch.tensor(labels), distance).numpy()
    np.testing.assert_array_equal(found, reference.boundary(labels, distance))


def test_boundary_is_what_the_authors_erode():
    _, labels = regions(1, ignored=False)
    found = boundary_pixels(torch.tensor(labels), 3).numpy()
    for c in range(3):
        mask = cv2.copyMakeBorder((labels == c).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        kept = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=3)[1:-1, 1:-1]
        np.testing.assert_array_equal(found & (labels == c), (labels == c) & (kept == 0))


@pytest.mark.parametrize('ignored', [255, 0])
def test_labels_of_one_byte_have_the_boundary_of_others(ignored):
    """-1, which stands for ignored pixels, became the class 255 in them."""
    labels = torch.zeros(9, 9, dtype=torch.long)
    labels[3:6, 3:6] = 255
    found = boundary_pixels(labels.byte(), 1, ignored)
    torch.testing.assert_close(found, boundary_pixels(labels, 1, ignored))


@pytest.mark.parametrize('ignored', [0, 2, -1])
def test_an_ignored_label_that_is_a_class_may_be_predicted(ignored):
    """Where it was predicted at labelled pixels, they were taken for ignored ones."""
    pred, labels = map(torch.tensor, regions(4))
    labels = torch.where(labels == ignored, 255, labels)
    same = torch.where(labels == 255, ignored, labels)
    found = boundary_sums(pred, same, 3, 0.1, ignored)
    assert torch.equal(found, boundary_sums(pred, labels, 3, 0.1))


@pytest.mark.parametrize('distance', [0, -1])
def test_a_boundary_has_a_width(distance):
    """All pixels were boundary at a distance of 0."""
    with pytest.raises(ValueError, match=f'distance={distance} must be at least 1'):
        boundary_pixels(torch.zeros(5, 5, dtype=torch.long), distance)


def test_all_ignored_has_no_boundary():
    assert not boundary_pixels(torch.full((4, 5), 255), 2).any()
    sums = boundary_sums(torch.zeros(4, 5, dtype=torch.long), torch.full((4, 5), 255), 3)
    assert np.isnan(boundary_iou(sums.numpy())).all()


@pytest.mark.parametrize('ratio', [0.02, 0.1])
def test_boundary_iou(ratio):
    pairs = [regions(seed) for seed in range(3)]
    sums = sum(boundary_sums(*map(torch.tensor, pair), 3, ratio) for pair in pairs)
    np.testing.assert_allclose(
        boundary_iou(sums.numpy()), reference.boundary_iou(pairs, 3, ratio), rtol=1e-12
    )


def test_predictions_at_ignored_pixels_change_nothing():
    pred, labels = regions(2)
    other = np.where(labels == 255, 2 - pred, pred)
    assert (other != pred).any()
    sums = [boundary_sums(torch.tensor(p), torch.tensor(labels), 3, 0.1) for p in (pred, other)]
    assert torch.equal(*sums)


def test_class_out_of_range():
    labels = torch.tensor([[0, 3]])
    with pytest.raises(ValueError, match='labels: label 3'):
        boundary_sums(torch.zeros_like(labels), labels, 3)


@pytest.mark.parametrize('c', [1, 2])
def test_centerline_dice_of_an_image(c):
    pred, labels = (part == c for part in regions(3))
    counts = centerline_counts(pred, labels, skeletonize(pred), skeletonize(labels))
    expected = reference.centerline_dice(pred, labels, skeletonize)
    assert centerline_dice(counts[:, None])[0] == pytest.approx(expected, rel=1e-12)


def test_centerline_dice_by_thinning_of_our_own():
    """The skeletons of scikit-image and of Zhang and Suen differ at the ends of a bar alone."""
    mask = np.zeros((12, 30), bool)
    mask[4:7, 3:27] = True
    lines = skeletonize(mask)
    own = reference.thinned(mask)
    assert own[5, 4:25].all()
    np.testing.assert_array_equal(own[:, 4:25], lines[:, 4:25])


def test_a_broken_line_costs_sensitivity_alone():
    labels = np.zeros((9, 40), bool)
    labels[4] = True
    pred = labels.copy()
    pred[4, 10:20] = False
    counts = centerline_counts(pred, labels, pred, labels)
    assert centerline_dice(counts[:, None])[0] == pytest.approx(2 * 0.75 / 1.75)


def sample(seed, size=(24, 33)):
    pred, labels = regions(seed, size)
    data = dict(gt_sem_seg=labels, pred_sem_seg=pred)
    return {name: dict(data=torch.tensor(part)[None]) for name, part in data.items()}


def evaluate(images, size=None, **options):
    init_default_scope('mmseg')
    judge = Evaluator([BoundaryMetric(**options)])
    judge.dataset_meta = dict(classes=CLASSES)
    for image in images:
        judge.process([image])
    return judge.evaluate(len(images) if size is None else size)


def test_metric(tmp_path):
    pairs = [regions(seed) for seed in range(3)]
    out_file = str(tmp_path / 'boundary.json')
    scores = evaluate(map_samples(3), thin_classes=THIN, out_file=out_file)
    expected = reference.boundary_iou(pairs, 3)
    assert scores['boundary/mBoundaryIoU'] == pytest.approx(expected.mean(), rel=1e-12)
    by_class = []
    for c in (2, 1):
        dice = [
            reference.centerline_dice((p == c) & (y != 255), y == c, skeletonize) for p, y in pairs
        ]
        by_class.append(np.mean(dice))
    assert scores['boundary/clDice_I'] == pytest.approx(np.mean(by_class), abs=1e-11)
    written = json.loads((tmp_path / 'boundary.json').read_text())
    assert written['per_class']['BoundaryIoU'] == pytest.approx(expected)
    assert written['per_class']['clDice'][0] is None


def map_samples(number, size=(24, 33)):
    return [sample(seed, size) for seed in range(number)]


def test_chosen_classes_and_no_thin_ones():
    scores = evaluate(map_samples(2), classes=['tree', 2])
    expected = reference.boundary_iou([regions(seed) for seed in range(2)], 3)
    assert set(scores) == {'boundary/mBoundaryIoU'}
    assert scores['boundary/mBoundaryIoU'] == pytest.approx(expected[1:].mean())


def _rank(rank):
    own = [sample(seed) for seed in range(5)][rank::2]
    own = own if rank == 0 else [*own, sample(0)]  # the sampler repeats an image to even them out
    return evaluate(own, size=5, thin_classes=THIN)


def test_two_ranks_give_exactly_the_scores_of_one():
    scores = evaluate(map_samples(5), thin_classes=THIN)
    for found in run_ranks(_rank, 2):
        assert found == scores


def test_what_it_refuses(monkeypatch):
    with pytest.raises(ValueError, match=r'ratio=2 must be in \(0, 1\)'):
        BoundaryMetric(ratio=2)
    with pytest.raises(ValueError, match="thin_classes holds 'mast', neither a class"):
        evaluate(map_samples(1), thin_classes=['mast'])
    with pytest.raises(ValueError, match='thin_classes holds pole twice'):
        evaluate(map_samples(1), thin_classes=['pole', CLASSES.index('pole')])
    found = builtins.__import__

    def without_skimage(name, *args, **kwargs):
        if name.startswith('skimage'):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without_skimage)
    with pytest.raises(ImportError, match=r"pip install 'mmseg_balance\[skeleton\]'"):
        BoundaryMetric(thin_classes=['pole'])
    BoundaryMetric()
