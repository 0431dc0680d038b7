import numpy as np
import pytest
import torch

from mmseg_balance.functional import lovasz
from mmseg_balance.functional.lovasz import lovasz_softmax_loss
from tests.support import references_pooling as references

CASES = [(over, classes) for over in ('batch', 'image') for classes in ('present', 'all')]


@pytest.fixture(params=['float64', 'float32 by torch', 'float32 by numpy'])
def route(request, monkeypatch):
    """The three ways a loss is computed: its dtype, and the sort it takes on a CPU."""
    if request.param == 'float32 by torch':
        monkeypatch.setattr(lovasz, '_use_numpy', lambda probs: False)
    if request.param == 'float32 by numpy':
        assert lovasz._use_numpy(torch.zeros(1))
    return torch.float64 if request.param == 'float64' else torch.float32


def batch(dtype=torch.float64, num_classes=5, size=(7, 9), ignored=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, num_classes, *size, generator=generator, dtype=torch.float64)
    # the last class never occurs, and the one before it only in the last image
    labels = torch.randint(0, num_classes - 1, (3, *size), generator=generator)
    labels[:2][labels[:2] == num_classes - 2] = 0
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return logits.to(dtype), labels


def value_and_grad(logits, labels, **kwargs):
    leaf = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    loss = lovasz_softmax_loss(leaf, labels, **kwargs)
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize(('over', 'classes'), CASES)
@pytest.mark.parametrize('weight', [None, (1.0, 2.0, 0.5, 3.0, 4.0), (0.0, 0.0, 0.0, 1.0, 0.0)])
def test_value_equals_the_definition(route, over, classes, weight):
    logits, labels = batch(route)
    expected = references.lovasz_softmax(logits.numpy(), labels.numpy(), 255, over, classes, weight)
    weight = None if weight is None else torch.tensor(weight)
    loss = lovasz_softmax_loss(logits, labels, 255, over, classes, weight)
    assert loss.dtype == route
    tolerance = 1e-12 if route == torch.float64 else 1e-6
    assert loss.item() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(('over', 'classes'), CASES)
def test_gradient(over, classes):
    logits, labels = batch(size=(3, 4))
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0, 4.0])
    assert torch.autograd.gradcheck(
        lambda z: lovasz_softmax_loss(z, labels, 255, over, classes, weight).pow(2) * 3,
        logits.requires_grad_(),
    )


@pytest.mark.parametrize(('over', 'classes'), CASES)
def test_every_route_has_the_gradient_of_float64(route, over, classes):
    logits, labels = batch(route, size=(41, 11))
    _, expected = value_and_grad(logits.double(), labels, over=over, classes=classes)
    _, grad = value_and_grad(logits, labels, over=over, classes=classes)
    assert grad.dtype == route
    # softmax in float32 cancels where a probability is near 1
    assert (grad - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize('over', ['batch', 'image'])
def test_ignored_pixels_have_no_part(route, over):
    logits, labels = batch(route)
    loss, grad = value_and_grad(logits, labels, over=over)
    ignored = (labels == 255).unsqueeze(1).expand_as(logits)
    assert (grad[ignored] == 0).all()
    moved, moved_grad = value_and_grad(
        torch.where(ignored, 20 * torch.randn_like(logits), logits), labels, over=over
    )
    assert torch.equal(moved, loss)
    assert torch.equal(moved_grad, grad)


@pytest.mark.parametrize(('over', 'classes'), CASES)
def test_nothing_valid_is_zero(route, over, classes):
    logits, labels = batch(route)
    loss, grad = value_and_grad(logits, torch.full_like(labels, 255), over=over, classes=classes)
    assert loss == 0
    assert (grad == 0).all()


def test_an_ignored_image_does_not_dilute_the_mean(route):
    logits, labels = batch(route)
    labels[1] = 255
    both, _ = value_and_grad(logits, labels, over='image')
    alone, _ = value_and_grad(logits[[0, 2]], labels[[0, 2]], over='image')
    torch.testing.assert_close(both, alone)


def test_one_valid_pixel(route):
    logits, labels = batch(route)
    labels[:] = 255
    labels[1, 2, 3] = 2
    probability = logits[1, :, 2, 3].softmax(0)[2]
    loss, _ = value_and_grad(logits, labels)
    torch.testing.assert_close(loss, 1 - probability)


def test_absent_class(route):
    """'present' leaves it out; 'all' adds its largest probability (the definition for G = 0)."""
    logits, labels = batch(route, ignored=0)
    present, _ = value_and_grad(logits, labels)
    everything, grad = value_and_grad(logits, labels, classes='all')
    largest = logits.softmax(1)[:, 4].max()
    torch.testing.assert_close(everything, (4 * present + largest) / 5)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize('over', ['batch', 'image'])
def test_ignored_pixels_of_a_class_are_no_foreground(route, over):
    """``classes='all'`` with an ``ignore_index`` below C, except in float32 on a CPU."""
    logits, labels = batch(route, ignored=0)
    expected = references.lovasz_softmax(logits.numpy(), labels.numpy(), 0, over, 'all')
    loss, grad = value_and_grad(logits, labels, ignore_index=0, over=over, classes='all')
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    renamed = torch.where(labels == 0, 255, labels)
    assert torch.equal(grad, value_and_grad(logits, renamed, over=over, classes='all')[1])


def test_perfect_and_opposite_predictions(route):
    _, labels = batch(ignored=0)
    one_hot = torch.nn.functional.one_hot(labels, 5).movedim(-1, 1).to(route)
    assert lovasz_softmax_loss(200 * one_hot, labels) < 1e-30
    torch.testing.assert_close(
        lovasz_softmax_loss(-200 * one_hot, labels), torch.ones((), dtype=route)
    )


def test_hard_predictions_give_the_jaccard_loss(route):
    """At the corners of the cube the extension is the set function itself: 1 - IoU."""
    _, labels = batch(ignored=0)
    predicted = torch.randint(0, 5, labels.shape)
    hard = 200 * torch.nn.functional.one_hot(predicted, 5).movedim(-1, 1).to(route)
    ious = []
    for c in range(4):
        both = ((predicted == c) & (labels == c)).sum()
        ious.append(both / ((predicted == c) | (labels == c)).sum())
    assert lovasz_softmax_loss(hard, labels).item() == pytest.approx(1 - np.mean(ious), rel=1e-6)


def test_one_channel_is_two_classes(route):
    logits, labels = batch(route, num_classes=3)
    labels[labels == 2] = 1
    z = logits[:, :1]
    loss, grad = value_and_grad(z, labels)
    two, two_grad = value_and_grad(torch.cat([torch.zeros_like(z), z], 1), labels)
    assert torch.equal(loss, two)
    assert torch.equal(grad, two_grad[:, 1:])
    weighted = lovasz_softmax_loss(z, labels, class_weight=torch.tensor([0.0, 1.0]))
    expected = references.lovasz_softmax(z.numpy(), labels.numpy(), weight=(0.0, 1.0))
    assert weighted.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, labels = batch(dtype)
    loss, grad = value_and_grad(logits, labels)
    expected, expected_grad = value_and_grad(logits.float(), labels)
    assert loss.dtype == torch.float32
    assert grad.dtype == dtype
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, expected_grad.to(dtype))
    scaled = logits.clone().requires_grad_()  # as a gradient scaler does: nothing underflows first
    (lovasz_softmax_loss(scaled, labels) * 4096).backward()
    torch.testing.assert_close(scaled.grad, (4096 * expected_grad).to(dtype))


@pytest.mark.parametrize('value', [0.0, 100.0])
def test_equal_errors(route, value):
    logits, labels = batch(route)
    logits[:] = 0
    logits[:, 0] = value
    loss, grad = value_and_grad(logits, labels)
    expected = references.lovasz_softmax(logits.numpy(), labels.numpy())
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize('over', ['batch', 'image'])
def test_any_memory_layout(route, over):
    logits, labels = batch(route, size=(6, 8))
    expected, expected_grad = value_and_grad(logits, labels, over=over)
    wide = torch.randn(3, 10, 12, 8, dtype=route)
    wide[:, ::2, ::2] = logits
    for same in (logits.contiguous(memory_format=torch.channels_last), wide[:, ::2, ::2]):
        loss, grad = value_and_grad(same, labels.mT.contiguous().mT, over=over)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(grad, expected_grad)


def test_the_size_of_a_chunk_changes_nothing(monkeypatch):
    logits, labels = batch()
    for over, classes in CASES:
        expected = value_and_grad(logits, labels, over=over, classes=classes)
        for classes_at_once in (1, 2, 3):
            monkeypatch.setattr(lovasz, 'CHUNK', classes_at_once * labels.numel())
            got = value_and_grad(logits, labels, over=over, classes=classes)
            torch.testing.assert_close(got, expected)
        monkeypatch.undo()


def test_threads_change_nothing():
    logits, labels = batch(torch.float32, size=(50, 60))
    expected = value_and_grad(logits, labels)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        got = value_and_grad(logits, labels)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(got, expected)


def test_many_classes_and_labels_of_one_byte(route):
    logits = torch.randn(2, 150, 9, 8, dtype=route)
    labels = torch.randint(0, 150, (2, 9, 8))
    expected = references.lovasz_softmax(logits.numpy(), labels.numpy())
    assert lovasz_softmax_loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)
    assert lovasz_softmax_loss(logits, labels.byte()).item() == pytest.approx(expected, rel=1e-6)


def test_one_logits_sized_tensor_is_saved():
    logits, labels = batch(torch.float32)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        lovasz_softmax_loss(logits.requires_grad_(), labels)
    assert sum(tensor.numel() for tensor in saved) <= logits.numel()
    saved.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        lovasz_softmax_loss(logits.detach(), labels)
    assert not saved


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(over='pixel'), '^over='),
        (dict(classes='some'), '^classes='),
        (dict(class_weight=torch.ones(4)), 'class_weight has 4 entries for 5'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    logits, labels = batch()
    with pytest.raises(ValueError, match=message):
        lovasz_softmax_loss(logits, labels, **kwargs)
