"""The registered samplers: what they draw, on every rank, from the start or from the middle."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import copy
import itertools
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine import MessageHub
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.runner import Runner
from mmseg.structures import OHEMPixelSampler

from mmseg_balance.samplers import (
    BalanceBatchSampler,
    ClassPerformanceSampler,
    ConfusionPixelSampler,
    FocusedIndex,
)
from mmseg_balance.statistics import ClassStatistics
from tests.support import references_sampling as slow


class Images:
    """As much of a data set as a sampler looks at."""

    metainfo = dict(classes=None)

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


def long_tail(images: int = 60, classes: int = 10, seed: int = 0) -> ClassStatistics:
    rng = np.random.default_rng(seed)
    rows = rng.random((images, classes)) < np.geomspace(1, 0.08, classes)
    return ClassStatistics.from_rows([f'c{c}' for c in range(classes)], rows * 5)


def balanced(
    statistics: ClassStatistics, rank: int = 0, world_size: int = 1, **options
) -> BalanceBatchSampler:
    inner = SimpleNamespace(dataset=Images(statistics.num_images), seed=options.pop('seed', 0))
    sampler = BalanceBatchSampler(
        inner, **{**dict(batch_size=6, min_classes=9, statistics=statistics), **options}
    )
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


def classes_of(statistics: ClassStatistics, images) -> set[int]:
    return set().union(*(statistics.classes_of(i).tolist() for i in images))


def take(sampler, count: int) -> list:
    return list(itertools.islice(iter(sampler), count))


@pytest.mark.parametrize('fill', [True, False])
def test_every_batch_has_the_classes_and_no_image_twice(fill):
    statistics = long_tail()
    batches = take(balanced(statistics, fill=fill), 200)
    assert all(len(classes_of(statistics, batch)) >= 9 for batch in batches)
    assert all(len(set(batch)) == len(batch) for batch in batches)
    sizes = {len(batch) for batch in batches}
    assert sizes == {6} if fill else max(sizes) <= 6 < sum(sizes)
    assert len(set(itertools.chain(*batches))) > 50  # of 60: no image is left out for good


def test_a_batch_without_filling_has_at_least_min_images():
    statistics = long_tail()
    alone = take(balanced(statistics, fill=False, min_classes=4), 200)
    batches = take(balanced(statistics, fill=False, min_classes=4, min_images=2), 200)
    assert min(map(len, alone)) == 1
    assert [len(batch) for batch in batches] == [max(len(batch), 2) for batch in alone]
    assert all(batch[: len(old)] == old for batch, old in zip(batches, alone, strict=True))
    assert all(len(set(batch)) == len(batch) for batch in batches)
    with pytest.raises(ValueError, match='min_images=7 must be at most batch_size=6'):
        balanced(statistics, min_images=7)


@pytest.mark.parametrize('loss', ['ce', 'soft_dice', 'soft_iou'])
def test_no_batch_of_huang_s_configs_is_one_image(loss):
    """DeepLabV3's batch norm after global pooling raised on a tenth of soft IoU's batches."""
    cfg = Config.fromfile(f'configs/deeplabv3-r101_{loss}_voc12aug_huang.py').train_dataloader
    rng = np.random.default_rng(0)
    rows = rng.random((2000, 21)) < [1, *[0.07] * 20]  # background, and 1.4 classes as in VOC
    statistics = ClassStatistics.from_rows([str(c) for c in range(21)], rows * 5)
    options = {**cfg.batch_sampler, 'batch_size': cfg.batch_size}
    del options['type'], options['statistics']
    assert min(map(len, take(balanced(statistics, **options), 300))) > 1


def test_the_seed_decides_and_a_jump_costs_nothing():
    statistics = long_tail()
    batches = take(balanced(statistics), 50)
    assert take(balanced(statistics), 50) == batches
    assert take(balanced(statistics, seed=1), 50) != batches
    jumped = balanced(statistics)
    jumped.jump(30)
    assert take(jumped, 20) == batches[30:]
    again = balanced(statistics)
    assert take(again, 10) + take(again, 10) == batches[:20]  # one sequence, also over iter()


def test_ranks_share_no_image_of_an_iteration():
    statistics = long_tail(images=400)
    ranks = [take(balanced(statistics, rank, 4), 40) for rank in range(4)]
    for batches in zip(*ranks, strict=True):
        assert all(len(classes_of(statistics, batch)) >= 9 for batch in batches)
        assert len(set(itertools.chain(*batches))) == 4 * 6


def test_a_rank_whose_share_lacks_a_class_draws_from_all_images():
    rows = np.zeros((40, 5))
    rows[:, :4] = 1
    rows[7, 4] = 1  # one image has the last class, and both ranks need it
    statistics = ClassStatistics.from_rows('abcde', rows)
    for rank in range(2):
        sampler = balanced(statistics, rank, 2, batch_size=4, min_classes=5, max_tries=40)
        assert all(7 in batch for batch in take(sampler, 5))


def test_fewer_images_than_ranks_take_together():
    statistics = long_tail(images=8, classes=3)
    for rank in range(4):
        batches = take(balanced(statistics, rank, 4, batch_size=6, min_classes=2), 5)
        assert all(len(batch) == 6 for batch in batches)


def test_what_cannot_be_is_refused_at_once():
    statistics = long_tail()
    with pytest.raises(ValueError, match=r'min_classes=11 cannot be met.*shows 10 classes in 60'):
        balanced(statistics, min_classes=11)
    with pytest.raises(ValueError, match=r'no batch of 1 can have more than \d'):
        balanced(statistics, batch_size=1, min_classes=10)
    for name in ('batch_size', 'min_classes', 'min_images', 'max_tries'):
        with pytest.raises(ValueError, match=f'{name} must be an integer of at least 1, got 0'):
            balanced(statistics, **{name: 0})


def test_giving_up_names_the_best_batch():
    rows = np.eye(6)
    statistics = ClassStatistics.from_rows('abcdef', rows + np.roll(rows, 1, axis=1))
    # Three images can hold all six classes, but a try seldom picks the right three.
    sampler = balanced(statistics, batch_size=3, min_classes=6, max_tries=1)
    with pytest.raises(RuntimeError, match=r'max_tries=1 .* 6 classes, the best batch found had 5'):
        take(sampler, 100)


def test_discarded_batches_are_logged():
    hub = MessageHub.get_instance('test_discarded')
    sampler = balanced(long_tail(), batch_size=4)
    expected = [sampler.batch_of(i).discarded for i in range(30)]
    take(sampler, 30)
    history = hub.get_scalar('train/discarded_batches').data[0]
    assert history.tolist() == expected
    assert sum(expected) > 0


def test_the_runner_builds_it_and_a_loader_uses_it():
    statistics = long_tail()

    class Identity(Images, torch.utils.data.Dataset):
        def __getitem__(self, index):
            return int(index)

    loader = Runner.build_dataloader(
        dict(
            dataset=Identity(60),
            batch_size=6,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='InfiniteSampler', shuffle=True),
            batch_sampler=dict(
                type='mmseg.BalanceBatchSampler', min_classes=9, statistics=statistics
            ),
        ),
        seed=3,
    )
    batches = [batch.tolist() for batch in itertools.islice(loader, 5)]
    assert batches == take(balanced(statistics, seed=3), 5)
    assert len(loader) == 10


def performance(
    statistics: ClassStatistics, rank: int = 0, world_size: int = 1, **options
) -> ClassPerformanceSampler:
    sampler = ClassPerformanceSampler(
        Images(statistics.num_images), statistics=statistics, **{'seed': 0, **options}
    )
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


def test_classes_are_drawn_by_their_probability_and_images_alike():
    statistics = long_tail(images=30, classes=4)
    sampler = performance(statistics, uniform_ratio=0.25)
    iou = np.array([0.9, 0.6, 0.3, 0.2])
    probabilities = sampler.report(iou, start=0)
    np.testing.assert_allclose(probabilities, (1 - iou) / 2)
    draws = take(sampler, 8000)
    focused = [index for index in draws if index.focus_class is not None]
    assert len(focused) / 8000 == pytest.approx(0.75, abs=0.02)  # 4 standard deviations
    counts = np.bincount([index.focus_class for index in focused], minlength=4)
    assert sampler.class_draws.tolist() == counts.tolist()
    np.testing.assert_allclose(counts / len(focused), probabilities, atol=0.025)
    for c in range(4):
        images = {int(index) for index in focused if index.focus_class == c}
        rows = np.flatnonzero([c in statistics.classes_of(i) for i in range(30)])
        assert images == set(rows.tolist())
    plain = np.bincount([index for index in draws if index.focus_class is None], minlength=30)
    assert plain.min() > 30  # expected 67 each, standard deviation 8


@pytest.mark.parametrize('uniform_ratio', [0, 1])
def test_pure_mixtures(uniform_ratio):
    draws = take(performance(long_tail(), uniform_ratio=uniform_ratio), 100)
    assert {index.focus_class is None for index in draws} == {bool(uniform_ratio)}


def test_before_any_report_classes_that_exist_are_alike():
    rows = np.zeros((6, 3))
    rows[:, 0], rows[0, 1] = 1, 1
    sampler = performance(ClassStatistics.from_rows('abc', rows), uniform_ratio=0)
    assert sampler.probabilities_at(0).tolist() == [0.5, 0.5, 0]
    assert {index.focus_class for index in take(sampler, 50)} == {0, 1}


def test_every_rank_knows_the_sequence_of_all():
    statistics = long_tail()
    whole = take(performance(statistics), 60)
    for rank in range(3):
        part = take(performance(statistics, rank, 3), 20)
        assert part == whole[rank::3]
        assert [i.focus_class for i in part] == [i.focus_class for i in whole[rank::3]]


def test_a_report_holds_from_its_start_and_survives_a_resume():
    statistics = long_tail(classes=3)
    first, second = np.array([0.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0])

    def uninterrupted() -> tuple[ClassPerformanceSampler, list]:
        sampler = performance(statistics, uniform_ratio=0)
        draws = iter(sampler)
        sequence = [next(draws) for _ in range(30)]  # workers are 10 draws ahead of iteration 20
        sampler.report(first, start=30, consumed=20)
        sequence += [next(draws) for _ in range(20)]
        sampler.report(second, start=50, consumed=40)
        return sampler, sequence + [next(draws) for _ in range(30)]

    sampler, sequence = uninterrupted()
    focus = [index.focus_class for index in sequence]
    assert set(focus[30:50]) == {0}
    assert set(focus[50:]) == {1}
    resumed = performance(statistics, uniform_ratio=0)
    resumed.load_state_dict(pickle.loads(pickle.dumps(sampler.state_dict())))
    resumed.jump(40)  # the checkpoint was saved when 40 draws were used up
    assert take(resumed, 40) == sequence[40:]


@pytest.mark.parametrize('start', [20, 0])  # the sampler jumps, or the loop draws all again
def test_a_resumed_run_counts_the_draws_of_the_uninterrupted_one(start):
    whole, stopped, resumed = (performance(long_tail()) for _ in range(3))
    take(whole, 50)
    take(stopped, 30)  # workers are 10 draws ahead
    resumed.load_state_dict(stopped.state_dict())
    resumed.jump(start)
    take(resumed, 50 - start)
    assert resumed.class_draws.tolist() == whole.class_draws.tolist()


def test_reports_that_no_draw_can_need_are_forgotten():
    sampler = performance(long_tail(classes=2))
    for step in range(100):
        sampler.report(np.array([0.5, step / 100]), start=8 * step + 16, consumed=8 * step)
    assert len(sampler.state_dict()['schedule']) <= 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [(dict(uniform_ratio=1.5), 'uniform_ratio must be in'), (dict(shuffle=False), 'shuffle=False')],
)
def test_performance_sampler_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        performance(long_tail(), **options)
    with pytest.raises(ValueError, match='no image'):
        performance(ClassStatistics.from_rows('ab', np.zeros((3, 2))))


class Recorded(BaseDataset):
    """Hands the class that an index carries through the pipeline."""

    METAINFO = dict(classes=('a', 'b', 'c'))

    def load_data_list(self):
        return [dict(img_path=str(i)) for i in range(5)]


def focus_of(results: dict) -> tuple[str, int | None]:
    return results['img_path'], getattr(results['sample_idx'], 'focus_class', None)


def test_the_chosen_class_reaches_transforms_through_wrappers_and_workers():
    plain = Recorded(pipeline=[focus_of])
    index = FocusedIndex(3, focus_class=2)
    assert copy.deepcopy(index).focus_class == pickle.loads(pickle.dumps(index)).focus_class == 2
    assert plain[index] == ('3', 2)
    assert ConcatDataset([plain, plain])[FocusedIndex(8, 1)] == ('3', 1)
    assert RepeatDataset(plain, 3)[FocusedIndex(13, 0)] == ('3', 0)
    loader = torch.utils.data.DataLoader(
        plain, batch_size=None, sampler=[index, FocusedIndex(0)], num_workers=1
    )
    assert [tuple(item) for item in loader] == [('3', 2), ('0', None)]


def head(**options) -> SimpleNamespace:
    return SimpleNamespace(**{**dict(num_classes=4, ignore_index=255, threshold=0.3), **options})


def batch(classes: int = 4, size: tuple[int, int] = (9, 7)) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, 5, (2, 1, *size))
    labels[labels == 4] = 255
    return torch.randn(2, classes, *size), labels


def test_pixels_are_counted_in_turn():
    logits, labels = batch()
    watcher = ConfusionPixelSampler(head(), stride=3)
    for _ in range(9):  # each of the 3 x 3 offsets once: every pixel once
        assert watcher.sample(logits, labels) is None
    expected = slow.confusion(logits.argmax(1).numpy(), labels[:, 0].numpy(), 4, 255)
    assert watcher.take().tolist() == expected
    assert watcher.take() is None
    watcher.sample(logits, labels)
    assert 0 < watcher.take().sum() < np.sum(expected) / 5


@pytest.mark.parametrize('num_classes', [1, 2])
@pytest.mark.parametrize('ignore_index', [0, 255])
def test_the_head_s_ignore_index_and_threshold_are_used(ignore_index, num_classes):
    """Of one channel: MMSegmentation also takes ``num_classes=1`` for it."""
    watcher = ConfusionPixelSampler(
        head(num_classes=num_classes, ignore_index=ignore_index, threshold=0.3), stride=1
    )
    logits, labels = batch(classes=1)
    labels[labels > 1] = 255
    watcher.sample(logits, labels)
    labels = np.where(labels[:, 0] == 255, ignore_index, labels[:, 0])
    pred = (logits[:, 0].sigmoid() > 0.3).long().numpy()
    assert watcher.take().tolist() == slow.confusion(pred, labels, 2, ignore_index)


def test_a_user_s_pixel_sampler_still_decides():
    logits, labels = batch()
    own = OHEMPixelSampler(head(), thresh=0.7, min_kept=10)
    expected = own.sample(logits, labels)
    wrapped = ConfusionPixelSampler(head(), own)
    assert torch.equal(wrapped.sample(logits, labels), expected)
    built = ConfusionPixelSampler(
        head(), dict(type='OHEMPixelSampler', thresh=0.7, min_kept=10), stride=2
    )
    assert torch.equal(built.sample(logits, labels), expected)
    with pytest.raises(ValueError, match='stride must be at least 1'):
        ConfusionPixelSampler(head(), stride=0)


def test_counting_changes_neither_gradients_nor_random_state():
    logits, labels = batch()
    logits.requires_grad_()
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    watcher = ConfusionPixelSampler(head())
    watcher.sample(logits, labels)
    assert not watcher.take().requires_grad
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


@pytest.mark.parametrize('images', [2_000, 200_000])
def test_memory_per_image_and_time_per_batch_do_not_grow(images):
    """At 10 million images of ten classes: under 2 GB, see docs/sampling.md for that size run."""
    rng = np.random.default_rng(0)
    sizes = np.full(images, 10)
    classes = (rng.integers(0, 15, (images, 10)) + 15 * np.arange(10)).ravel()
    statistics = ClassStatistics.from_entries(
        [str(c) for c in range(150)], sizes, classes, np.full(10 * images, 100), np.zeros(images)
    )
    starts, columns = statistics.images_by_class
    held = sum(
        a.nbytes
        for a in (
            statistics.indptr,
            statistics.indices,
            statistics.counts,
            statistics.ignored,
            starts,
            columns,
        )
    )
    assert held / images < 110  # 1.1 GB for 10 million
    sampler = balanced(statistics, batch_size=16, min_classes=100)
    looked_at = []
    candidates = sampler._candidates
    sampler._candidates = lambda *args: (looked_at.append(i) or i for i in candidates(*args))
    for iteration in range(20):
        sampler.batch_of(iteration)
    # The work is what is looked at; it depends on the classes, not on how many images there are.
    assert len(looked_at) < 20 * 60
