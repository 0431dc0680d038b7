"""Several losses on the same logits: the second finds the first one's probabilities."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_balance.functional.primitives import overlap_sums, pixel_nll
from mmseg_balance.functional.primitives import tiled as eager_primitives
from tests.support import losses


def batch(**arguments):
    """Logits as a head makes them: computed, not a leaf of the graph."""
    logits, labels = losses.batch(**arguments)
    return logits.view_as(logits), labels


def nll(logits, labels, ignore_index=255):
    return pixel_nll(logits, labels, ignore_index).sum()


def overlap(logits, labels, ignore_index=255):
    intersection, predicted, _ = overlap_sums(logits, labels, ignore_index, power=2)
    return (intersection / (predicted + 1)).sum()


PAIRS = pytest.mark.parametrize(
    'pair',
    [(nll, overlap), (overlap, nll), (nll, nll), (overlap, overlap)],
    ids=['nd', 'dn', 'nn', 'dd'],
)


@pytest.fixture
def softmaxes(monkeypatch):
    """The sizes of the tiles whose softmax is made."""
    made = []
    original = eager_primitives._exponentials

    def counting(scores, valid, room):
        made.append(scores.numel())
        return original(scores, valid, room)

    monkeypatch.setattr(eager_primitives, '_exponentials', counting)
    return made


def value_and_gradient(functions, logits, labels):
    total = sum(function(logits, labels) for function in functions)
    return total.detach(), torch.autograd.grad(total, logits)[0]


@PAIRS
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_pair_is_the_sum_of_its_losses_and_makes_one_softmax(pair, dtype, softmaxes):
    logits, labels = batch(dtype=dtype, size=(2, 41, 101))
    alone = [value_and_gradient([function], logits, labels) for function in pair]
    softmaxes.clear()
    together = value_and_gradient(pair, logits, labels)
    assert sum(softmaxes) == logits.numel()
    torch.testing.assert_close(together, tuple(map(sum, zip(*alone, strict=True))))


@PAIRS
def test_a_pair_saves_the_probabilities_once(pair):
    logits, labels = batch(dtype=torch.float32, size=(2, 41, 101))
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        total = sum(function(logits, labels) for function in pair)
    saved.pop(labels.untyped_storage().data_ptr(), None)
    assert sum(saved.values()) < 1.5 * logits.numel() * logits.element_size()
    assert total.requires_grad


def test_logits_changed_in_place_are_others():
    logits, labels = batch(size=(1, 4, 5))
    logits = logits * 1
    first = overlap(logits, labels)
    with torch.no_grad():
        logits.mul_(3)
    expected = F.cross_entropy(logits, labels, ignore_index=255, reduction='sum')
    torch.testing.assert_close(nll(logits, labels), expected)
    assert first.requires_grad


def test_labels_changed_in_place_and_another_ignore_index_are_others():
    logits, labels = batch(size=(1, 4, 5))
    first = nll(logits, labels)
    labels[labels == 0] = 255
    expected = F.cross_entropy(logits, labels, ignore_index=255, reduction='sum')
    second = nll(logits, labels)
    torch.testing.assert_close(second, expected)
    inside = torch.where(labels == 255, 2, labels)
    third = nll(logits, inside)
    torch.testing.assert_close(
        nll(logits, inside, ignore_index=2),
        expected
        - F.cross_entropy(
            logits, torch.where(labels == 2, 2, 255), ignore_index=255, reduction='sum'
        ),
    )
    assert first.requires_grad
    assert third.requires_grad


def test_the_data_of_a_leaf_may_change(softmaxes):
    logits, labels = losses.batch(size=(1, 4, 5))
    first = nll(logits, labels)
    logits.data.mul_(2)
    expected = F.cross_entropy(logits, labels, ignore_index=255, reduction='sum')
    torch.testing.assert_close(nll(logits, labels), expected)
    assert first.requires_grad


def test_nothing_is_kept_alive(softmaxes):
    logits, labels = batch(size=(1, 4, 5))
    nll(logits, labels).backward()
    softmaxes.clear()
    overlap(logits, labels)
    assert sum(softmaxes) == logits.numel()


def test_a_probability_that_underflows_keeps_its_logarithm(softmaxes):
    leaf, labels = torch.tensor([0.0, 200.0, 3.0], requires_grad=True), torch.tensor([[[0]]])
    logits = leaf.view(1, 3, 1, 1)
    dice = overlap(logits, labels)
    value = nll(logits, labels)
    assert value.item() == 200
    assert len(softmaxes) == 1
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient.flatten().tolist() == [-1, 1, 0]
    assert dice.requires_grad


@pytest.mark.parametrize('low', [-90.0, -100.0, -120.0, -200.0])
def test_an_exponential_that_underflows_keeps_its_logarithm(low):
    leaf, labels = torch.tensor([low, -39.0, -45.0], requires_grad=True), torch.tensor([[[0]]])
    logits = leaf.view(1, 3, 1, 1)
    dice = overlap(logits, labels)
    torch.testing.assert_close(nll(logits, labels), F.cross_entropy(logits, labels))
    assert dice.requires_grad


def test_inference_mode_shares_nothing_and_works():
    with torch.inference_mode():
        logits, labels = torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long)
        torch.testing.assert_close(nll(logits, labels), torch.tensor(2.0).log())
