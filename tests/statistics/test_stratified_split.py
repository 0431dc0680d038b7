"""A stratified split: each class on both sides, in its share, groups together."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import itertools

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset

from mmseg_balance.datasets import CamVidDataset
from mmseg_balance.statistics import ClassStatistics
from mmseg_balance.statistics.stratified_split import (
    groups_of,
    image_names,
    one_sided_classes,
    presence_of,
    split_by_class,
    write_split,
)


def long_tail(images: int, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((images, classes)) < np.geomspace(0.9, 0.02, classes)


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('ratio', [0.1, 0.25, 0.5])
def test_every_class_is_divided_as_the_images_are(seed, ratio):
    presence = long_tail(400, 20, seed)
    dev = split_by_class(presence, ratio, seed=seed)
    assert abs(dev.sum() - ratio * 400) <= 12
    total, there = presence.sum(0), presence[dev].sum(0)
    possible = total >= 2
    assert (there[possible] >= 1).all()
    assert (there < total)[possible].all()
    # A random split of the same size has a standard deviation of sqrt(total * r * (1 - r)).
    assert (abs(there - ratio * total) <= 1 + 0.08 * total).all()


def test_it_beats_chance():
    presence = long_tail(300, 25, 3)
    total = presence.sum(0)

    def error(dev: np.ndarray) -> float:
        return float(np.abs(presence[dev].sum(0) - 0.2 * total)[total > 0].mean())

    rng = np.random.default_rng(0)
    random = [error(rng.permutation(300) < 60) for _ in range(200)]
    assert error(split_by_class(presence, 0.2)) < min(random)


@pytest.mark.parametrize('seed', range(30))
def test_both_sides_have_each_class_wherever_some_division_can(seed):
    """Against all divisions of a few groups."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(7), rng.integers(1, 6, 7))
    presence = (rng.random((7, 6)) < 0.35)[groups] & (rng.random((len(groups), 6)) < 0.8)
    dev = split_by_class(presence, 0.3, groups, seed)
    assert all(len(set(dev[groups == g])) == 1 for g in range(7))
    best = min(
        len(one_sided_classes(presence, np.array(sides)[groups]))
        for sides in itertools.product([False, True], repeat=7)
    )
    assert len(one_sided_classes(presence, dev)) == best


def test_the_only_group_of_a_class_is_told():
    presence = np.array([[1, 1], [1, 0], [1, 0], [1, 0]], bool)
    dev = split_by_class(presence, 0.5)
    assert one_sided_classes(presence, dev).tolist() == [1]


def test_images_without_a_class_are_divided_too():
    dev = split_by_class(np.zeros((10, 3), bool), 0.3)
    assert dev.sum() == 3
    assert one_sided_classes(np.zeros((10, 3), bool), dev).tolist() == []


def test_the_seed_decides_between_equals():
    presence = np.ones((40, 2), bool)
    first = split_by_class(presence, 0.25, seed=0)
    assert (split_by_class(presence, 0.25, seed=0) == first).all()
    assert (split_by_class(presence, 0.25, seed=1) != first).any()
    assert first.sum() == 10


@pytest.mark.parametrize(
    ('ratio', 'groups', 'message'),
    [
        (0, None, 'dev_ratio must be in'),
        (1, None, 'dev_ratio must be in'),
        (0.5, ['v'] * 4, '4 images in 1 group'),
    ],
)
def test_what_cannot_be_divided_is_refused(ratio, groups, message):
    with pytest.raises(ValueError, match=message):
        split_by_class(np.ones((4, 2), bool), ratio, groups)


def test_groups_are_found_in_names():
    names = ['seq1/a_0', 'seq1/b_1', 'seq2/a_0']
    assert groups_of(names, r'^\w+') == ['seq1', 'seq1', 'seq2']
    assert groups_of(names, r'/(\w)_') == ['a', 'b', 'a']
    assert groups_of(names, None) == names
    with pytest.raises(ValueError, match=r"finds no group in the name 'seq1/a_0'"):
        groups_of(names, 'video')
    with pytest.raises(ValueError, match='not a regular expression'):
        groups_of(names, '(')


def test_presence_is_that_of_the_statistics():
    rows = np.array([[3, 0, 1], [0, 0, 0], [0, 2, 0]])
    assert (presence_of(ClassStatistics.from_rows('abc', rows)) == (rows > 0)).all()


def test_the_lists_are_what_ann_file_takes(tiny_camvid, tmp_path):
    init_default_scope('mmseg')
    options = dict(
        data_root=str(tiny_camvid),
        pipeline=[dict(type='LoadAnnotations')],
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
    )
    whole = CamVidDataset(**options)
    dev = np.array([True, False, False, True])
    paths = write_split(image_names(whole), dev, tmp_path / 'new')
    found = [
        [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
        for dataset in (CamVidDataset(ann_file=str(path), **options) for path in paths)
    ]
    everyone = [whole.get_data_info(i)['img_path'] for i in range(4)]
    assert found == [everyone[1:3], [everyone[0], everyone[3]]]
    assert isinstance(whole, BaseSegDataset)
    with pytest.raises(ValueError, match='has no list of image names'):
        image_names(object())
