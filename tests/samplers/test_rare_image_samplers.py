"""Repeat factor sampling and rare class sampling: what they draw, and how often."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import itertools

import numpy as np
import pytest
import torch

from mmseg_balance.functional.repeat_factors import repeat_factors, repeated_images
from mmseg_balance.functional.sampling import draw_by_class
from mmseg_balance.samplers import RareClassSampler, RepeatFactorSampler
from mmseg_balance.statistics import ClassStatistics
from tests.support import references_sampling as slow

CLASSES, IMAGES = 6, 50


class Images:
    """As much of a data set as a sampler looks at."""

    metainfo = dict(classes=None)

    def __len__(self) -> int:
        return IMAGES


def long_tail(seed: int = 0) -> ClassStatistics:
    rng = np.random.default_rng(seed)
    rows = (
        (rng.random((IMAGES, CLASSES)) < np.geomspace(1, 0.1, CLASSES))
        * rng.integers(1, 1000, (IMAGES, CLASSES))
        // np.arange(1, CLASSES + 1)
    )
    rows[7] = 0  # an image all ignored
    return ClassStatistics.from_rows([f'c{c}' for c in range(CLASSES)], rows)


def presence(statistics: ClassStatistics) -> list[set[int]]:
    return [set(statistics.classes_of(i).tolist()) for i in range(statistics.num_images)]


def repeat(
    statistics: ClassStatistics, rank: int = 0, world_size: int = 1, **options
) -> RepeatFactorSampler:
    sampler = RepeatFactorSampler(
        Images(), **{**dict(threshold=0.5, statistics=statistics, seed=0), **options}
    )
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


def rare(
    statistics: ClassStatistics, rank: int = 0, world_size: int = 1, **options
) -> RareClassSampler:
    sampler = RareClassSampler(
        Images(), **{**dict(temperature=0.3, statistics=statistics, seed=0), **options}
    )
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


def take(sampler, count: int) -> list:
    return list(itertools.islice(iter(sampler), count))


@pytest.mark.parametrize('kind', ['images', 'pixels'])
@pytest.mark.parametrize('threshold', [0.001, 0.2, 1.0])
def test_factors_are_those_of_the_paper(kind, threshold):
    statistics = long_tail()
    counts = getattr(statistics, kind)
    frequency = counts / (IMAGES if kind == 'images' else counts.sum())
    expected = slow.repeat_factors(presence(statistics), frequency.tolist(), threshold)
    sampler = repeat(statistics, threshold=threshold, frequency=kind)
    np.testing.assert_allclose(sampler.factors, expected, rtol=1e-12)
    assert sampler.pass_size == int(np.ceil(sum(expected) - 1e-9))


def test_factors_of_empty_images_and_unseen_classes():
    indptr = np.array([0, 0, 1, 1])
    found = repeat_factors(np.array([0.04, 0.0]), 0.16, indptr, np.array([0]))
    np.testing.assert_allclose(found, [1, 2, 1])
    assert repeat_factors(np.zeros(2), 0.5, np.array([0, 0]), np.zeros(0, int)).tolist() == [1]
    for threshold in (0, 1.5):
        with pytest.raises(ValueError, match='threshold must be in'):
            repeat_factors(np.ones(2), threshold, indptr, np.array([0]))


def test_a_pass_has_every_image_by_its_factor():
    factors = np.array([1.0, 1.3, 2.5, 4.0, 1.0])
    size, passes = 10, 2000
    share = size * factors / factors.sum()
    counts = np.array(
        [
            np.bincount(repeated_images(factors, size, np.random.default_rng(k)), minlength=5)
            for k in range(passes)
        ]
    )
    assert (counts.sum(1) == size).all()
    assert (counts >= np.floor(share)).all()
    assert (counts <= np.ceil(share)).all()
    np.testing.assert_allclose(counts.mean(0), share, atol=0.05)  # 4.5 standard deviations


def test_passes_are_in_random_order():
    first = [
        repeated_images(np.array([1.0, 1.0, 2.0]), 4, np.random.default_rng(k)).tolist()
        for k in range(400)
    ]
    for place in range(4):
        found = np.bincount([drawn[place] for drawn in first], minlength=3) / 400
        np.testing.assert_allclose(found, [0.25, 0.25, 0.5], atol=0.1)


def test_all_classes_common_is_every_image_once_a_pass():
    sampler = repeat(ClassStatistics.from_rows('ab', np.ones((IMAGES, 2))))
    assert len(sampler) == IMAGES
    drawn = take(sampler, 2 * IMAGES)
    assert sorted(drawn[:IMAGES]) == sorted(drawn[IMAGES:]) == list(range(IMAGES))
    assert drawn[:IMAGES] != drawn[IMAGES:]


@pytest.mark.parametrize('ranks', [1, 2, 3, 7])
@pytest.mark.parametrize('common', [True, False])
def test_an_epoch_is_a_pass_where_the_ranks_do_not_divide_it(ranks, common):
    """Epochs drifted over the passes: an image came in none of an epoch's, another twice too often."""
    statistics = ClassStatistics.from_rows('ab', np.ones((IMAGES, 2))) if common else long_tail()
    samplers = [repeat(statistics, rank, ranks) for rank in range(ranks)]
    share = len(samplers[0]) * ranks * samplers[0].factors / samplers[0].factors.sum()
    assert samplers[0].factors.sum() - 1e-9 <= share.sum() < samplers[0].factors.sum() + ranks
    for epoch in range(5):
        drawn = []
        for sampler in samplers:
            sampler.set_epoch(epoch)
            drawn += list(sampler)
        counts = np.bincount(drawn, minlength=IMAGES)
        assert (np.floor(share - 1e-9) <= counts).all()
        assert (counts <= np.ceil(share + 1e-9)).all()


@pytest.mark.parametrize('temperature', [0.01, 0.3, 10.0])
def test_classes_are_drawn_as_daformer_does(temperature):
    statistics = long_tail()
    sampler = rare(statistics, temperature=temperature)
    expected = slow.rcs_probabilities(statistics.pixels.tolist(), temperature)
    np.testing.assert_allclose(sampler.probabilities, expected, rtol=1e-9)
    # DAFormer's own three lines, which sort the classes by frequency first.
    order = np.argsort(statistics.pixels)
    freq = torch.tensor(statistics.pixels[order])
    theirs = torch.softmax((1 - freq / torch.sum(freq)).double() / temperature, dim=-1)
    np.testing.assert_allclose(sampler.probabilities[order], theirs.numpy(), rtol=1e-4)


def test_images_have_more_than_min_pixels_and_are_alike():
    statistics = long_tail()
    sampler = rare(statistics, temperature=100.0, min_pixels=60)
    drawn = take(sampler, 6000)
    rows = np.zeros((IMAGES, CLASSES), int)
    for i in range(IMAGES):
        row = slice(statistics.indptr[i], statistics.indptr[i + 1])
        rows[i, statistics.indices[row]] = statistics.counts[row]
    for c in np.flatnonzero((rows > 60).any(0)):
        images = [int(index) for index in drawn if index.focus_class == c]
        expected = np.flatnonzero(rows[:, c] > 60)
        assert set(images) == set(expected.tolist())
        mean = len(images) / len(expected)
        counts = np.bincount(images, minlength=IMAGES)[expected]
        assert abs(counts - mean).max() < 4.5 * mean**0.5


def test_classes_without_a_large_image_are_left_out_and_named(caplog):
    statistics = ClassStatistics.from_rows('abc', [[100, 5, 0], [100, 90, 0]] * (IMAGES // 2))
    sampler = rare(statistics, min_pixels=95)
    assert sampler.probabilities.tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match='no image has more than min_pixels=100'):
        rare(statistics, min_pixels=100)
    with pytest.raises(ValueError, match='min_pixels must be at least 0, got -1'):
        rare(statistics, min_pixels=-1)


def test_labels_that_are_all_ignored_are_named():
    """It said to lower ``min_pixels``, which was 0."""
    statistics = ClassStatistics.from_rows('abc', [[0, 0, 0]] * IMAGES)
    with pytest.raises(ValueError, match='all labels are ignored: look at ignore_index'):
        rare(statistics)


@pytest.mark.parametrize('ratio', [0.0, 0.4, 1.0])
def test_uniform_ratio_is_the_share_of_images_drawn_for_no_class(ratio):
    drawn = take(rare(long_tail(), uniform_ratio=ratio), 2000)
    assert np.mean([i.focus_class is None for i in drawn]) == pytest.approx(ratio, abs=0.05)


@pytest.mark.parametrize('make', [repeat, rare])
def test_seed_and_jump(make):
    statistics = long_tail()
    whole = take(make(statistics), 300)
    assert take(make(statistics), 300) == whole
    assert take(make(statistics, seed=1), 300) != whole
    jumped = make(statistics)
    jumped.jump(170)
    assert take(jumped, 130) == whole[170:]


@pytest.mark.parametrize('ranks', [2, 3])
def test_ranks_share_one_sequence(ranks):
    whole = take(rare(long_tail()), 300)
    for rank in range(ranks):
        assert take(rare(long_tail(), rank, ranks), 300 // ranks) == whole[rank::ranks]


@pytest.mark.parametrize('ranks', [2, 3])
def test_ranks_share_the_passes(ranks):
    samplers = [repeat(long_tail(), rank, ranks) for rank in range(ranks)]
    size = samplers[0].pass_size
    whole = np.concatenate(
        [
            repeated_images(samplers[0].factors, size, np.random.default_rng((0, number)))
            for number in range(3)
        ]
    )
    for rank, sampler in enumerate(samplers):
        assert take(sampler, 3 * len(sampler)) == whole[rank::ranks].tolist()


def test_a_jump_makes_one_pass_only(monkeypatch):
    made = []
    monkeypatch.setattr(
        'mmseg_balance.samplers.repeat_factor_sampler.repeated_images',
        lambda factors, size, rng: made.append(size) or np.zeros(size, int),
    )
    sampler = repeat(long_tail())
    sampler.jump(10**9)
    take(sampler, 5)
    assert len(made) <= 2  # five draws may cross into the next pass


def test_a_class_of_probability_0_is_never_drawn():
    starts, images = np.array([0, 2, 2, 4]), np.array([5, 6, 7, 8])
    for chance in np.linspace(0, 1 - 1e-12, 50):
        drawn, image = draw_by_class(chance, chance, np.array([0.5, 0.0, 0.5]), starts, images)
        assert image in images[starts[drawn] : starts[drawn + 1]]


@pytest.mark.parametrize(
    ('make', 'options', 'message'),
    [
        (repeat, dict(shuffle=False), 'shuffle=False'),
        (repeat, dict(frequency='area'), "frequency must be 'images' or 'pixels', got 'area'"),
        (repeat, dict(threshold=0), 'threshold must be in'),
        (rare, dict(shuffle=False), 'shuffle=False'),
        (rare, dict(uniform_ratio=-1), 'uniform_ratio must be in'),
        (rare, dict(temperature=0), 'temperature=0 must be above 0'),
    ],
)
def test_arguments_are_checked(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(long_tail(), **options)
