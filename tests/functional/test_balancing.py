"""The balanced batch and the random orders it is drawn from."""

import itertools

import numpy as np
import pytest
import torch

from mmseg_balance.functional.balancing import most_classes_possible, select_balanced_batch
from mmseg_balance.functional.sampling import (
    add_to_confusion,
    performance_probabilities,
    rare_class_probabilities,
)
from tests.support import references_sampling as slow


def sparse(presence: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0] + [len(row) for row in presence])
    return indptr, np.array([c for row in presence for c in sorted(row)], dtype=np.uint8)


@pytest.mark.parametrize('fill', [True, False])
@pytest.mark.parametrize('seed', range(20))
def test_same_batch_as_the_paper_s_algorithm(seed, fill):
    rng = np.random.default_rng(seed)
    presence = [
        set(np.flatnonzero(rng.random(12) < rng.choice([0.1, 0.3])).tolist()) for _ in range(40)
    ]
    candidates = rng.integers(0, 40, 4000).tolist()
    expected, discarded = slow.balance_batch(presence, candidates, 5, 9, fill)
    batch = select_balanced_batch(*sparse(presence), iter(candidates), 5, 9, fill=fill)
    assert (list(batch.images), batch.discarded) == (expected, discarded)
    assert batch.num_classes == len(set().union(*(presence[i] for i in expected))) >= 9
    assert batch.complete


def test_an_incomplete_batch_is_the_best_of_all_tries():
    presence = [{0}, {1}, {0, 1, 2}, {3}]
    batch = select_balanced_batch(*sparse(presence), iter([0, 1, 2, 3, 0, 1]), 2, 5, max_tries=3)
    assert batch.images == (2, 3)
    assert (batch.num_classes, batch.discarded, batch.complete) == (4, 3, False)


def test_a_try_without_new_classes_ends():
    presence = [{0}, {0}]
    candidates = itertools.cycle([0, 1])
    batch = select_balanced_batch(*sparse(presence), candidates, 4, 2, max_tries=3, patience=10)
    assert not batch.complete
    assert next(candidates) in (0, 1)


def test_no_second_try_where_all_candidates_were_seen():
    seen = []
    candidates = (seen.append(i) or i for i in itertools.cycle(range(5)))
    batch = select_balanced_batch(
        *sparse([{0}, {1}, {0}, {1}, set()]), candidates, 4, 3, max_tries=1000, pool_size=5
    )
    assert (batch.num_classes, batch.discarded, batch.complete) == (2, 1, False)
    assert len(seen) == 2 + 2 * 5


def test_topping_up_with_too_few_images_repeats_rather_than_hangs():
    batch = select_balanced_batch(
        *sparse([{0}, {1}]), itertools.cycle([0, 1]), 5, 2, fill=True, patience=10
    )
    assert len(batch.images) == 5


def test_images_without_any_class_only_fill():
    presence = [set(), {0}, set(), {1}]
    batch = select_balanced_batch(*sparse(presence), iter([0, 1, 2, 3, 2]), 3, 2)
    assert batch.images == (1, 3, 2)


@pytest.mark.parametrize(('batch_size', 'bound'), [(1, 3), (2, 5), (3, 6), (9, 6)])
def test_bound_on_the_classes_of_a_batch(batch_size, bound):
    presence = [{0, 1, 2}, {3, 4}, {0}, {5}]
    indptr, indices = sparse(presence)
    assert most_classes_possible(indptr, np.bincount(indices, minlength=8), batch_size) == bound


def test_numbers_of_images_were_taken_for_indices_of_classes():
    iou, images = np.array([0.9, 0.5, np.nan, 0.2]), np.array([4, 5, 2, 1])
    expected = performance_probabilities(iou, images > 0)
    np.testing.assert_array_equal(performance_probabilities(iou, images), expected)
    np.testing.assert_array_equal(performance_probabilities(iou, images.tolist()), expected)


def test_performance_probabilities_edges():
    available = np.array([True, True, True])
    np.testing.assert_allclose(
        performance_probabilities(np.array([np.nan] * 3), available), [1 / 3] * 3
    )
    np.testing.assert_allclose(performance_probabilities(np.ones(3), available), [1 / 3] * 3)
    np.testing.assert_allclose(
        performance_probabilities(np.array([1.0, 0.5, np.nan]), available),
        [0, 0.5 / 0.75, 0.25 / 0.75],
    )
    np.testing.assert_allclose(
        performance_probabilities(np.array([0.0, 0.0, 1.0]), np.array([False, True, True])),
        [0, 1, 0],
    )
    with pytest.raises(ValueError, match='none of the 3 classes'):
        performance_probabilities(np.ones(3), ~available)


def test_rare_class_temperature():
    frequency = np.array([0.6, 0.3, 0.1])
    np.testing.assert_allclose(rare_class_probabilities(frequency, 1e9), [1 / 3] * 3, atol=1e-6)
    np.testing.assert_allclose(rare_class_probabilities(frequency, 1e-4), [0, 0, 1], atol=1e-12)
    expected = np.exp((1 - frequency) / 0.5)
    np.testing.assert_allclose(rare_class_probabilities(frequency, 0.5), expected / expected.sum())


def test_confusion_adds_up_and_leaves_out_what_is_no_class():
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(4, 4, dtype=torch.int64)
    expected = np.zeros((4, 4), dtype=int)
    for _ in range(3):
        pred = torch.randint(0, 4, (2, 5, 7), generator=generator)
        labels = torch.randint(0, 5, (2, 5, 7), generator=generator)
        labels[labels == 4] = 255
        add_to_confusion(total, pred, labels)
        expected += slow.confusion(pred.numpy(), labels.numpy(), 4, 255)
    assert total.tolist() == expected.tolist()
    add_to_confusion(total, torch.zeros(3, dtype=torch.long), torch.tensor([-1, 4, 255]))
    assert total.tolist() == expected.tolist()
