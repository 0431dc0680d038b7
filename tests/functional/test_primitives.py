"""The two primitives: gradients, shapes, layouts, memory."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from mmseg_balance.functional import (
    centerline_dice_loss,
    lovasz_softmax_loss,
    recall_loss,
    soft_dice_loss,
)
from mmseg_balance.functional.labels import label_lookup, out_of_range, sum_by_label
from mmseg_balance.functional.logits import as_multiclass
from mmseg_balance.functional.primitives import overlap_sums, pixel_nll
from mmseg_balance.losses import LMPLoss
from tests.support.losses import batch

ODD = (2, 41, 401)


def plain_overlap_sums(logits, labels, power=1, pixel_weight=None):
    """The definition with torch's own softmax and one-hot, per image."""
    valid = (labels != 255).unsqueeze(1)
    probs = as_multiclass(logits).softmax(1) * valid
    truth = F.one_hot(torch.where(labels == 255, 0, labels), probs.shape[1]).movedim(-1, 1) * valid
    weight = 1 if pixel_weight is None else pixel_weight.unsqueeze(1)
    truth = truth.to(logits.dtype)
    parts = (weight * truth * probs, weight * probs**power, weight * truth)
    return tuple(part.sum((2, 3)) for part in parts)


@pytest.mark.parametrize('classes', [1, 3])
def test_pixel_nll_gradcheck(classes):
    logits, labels = batch(classes, size=(2, 3, 4))
    assert gradcheck(lambda z: pixel_nll(z, labels), logits)


@pytest.mark.parametrize('power', [1, 2, 1.5])
@pytest.mark.parametrize('classes', [1, 3])
@pytest.mark.parametrize('weighted', [False, True])
def test_overlap_sums_gradcheck(classes, power, weighted):
    logits, labels = batch(classes, size=(2, 3, 4))
    weight = torch.rand(labels.shape, dtype=torch.float64) if weighted else None
    assert gradcheck(
        lambda z: overlap_sums(z, labels, power=power, pixel_weight=weight, per_image=True)[:2],
        logits,
    )


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_pixel_nll_is_cross_entropy_on_odd_shapes(dtype):
    logits, labels = batch(dtype=dtype, size=ODD)
    expected = F.cross_entropy(logits, labels, ignore_index=255, reduction='none')
    torch.testing.assert_close(pixel_nll(logits, labels), expected)
    weights = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad((weights * pixel_nll(logits, labels)).sum(), logits),
        torch.autograd.grad((weights * expected).sum(), logits),
    )


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('shift', [-1e4, -100, -42, -39, 38, 42, 88, 100, 1e4])
def test_logits_far_from_zero(shift, dtype):
    small, labels = batch(dtype=dtype, size=ODD)
    logits = (small + shift).detach().requires_grad_()
    expected = F.cross_entropy(logits.double(), labels, ignore_index=255, reduction='none')
    losses = pixel_nll(logits, labels)
    tolerance = dict(rtol=1e-6, atol=1e-6) if dtype == torch.float32 else {}
    torch.testing.assert_close(losses.double(), expected, **tolerance)
    torch.testing.assert_close(
        torch.autograd.grad(losses.sum(), logits)[0].double(),
        torch.autograd.grad(expected.sum(), logits)[0].double(),
        **tolerance,
    )
    for sums, wanted in zip(
        overlap_sums(logits, labels, power=2, per_image=True),
        plain_overlap_sums(logits.double(), labels, 2),
        strict=True,
    ):
        torch.testing.assert_close(sums.double(), wanted, rtol=1e-5, atol=1e-5)


def test_sure_and_right_pixels_have_no_negative_loss():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(1, 19, 64, 64, generator=generator)
    labels = logits.argmax(1)
    logits.scatter_(1, labels.unsqueeze(1), 30)
    losses = pixel_nll(logits, labels)
    assert (losses >= 0).all()
    assert losses.max() < 1e-6


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('power', [1, 2])
def test_overlap_sums_on_odd_shapes(power, per_image, weighted):
    logits, labels = batch(size=ODD)
    weight = torch.rand(labels.shape, dtype=logits.dtype) if weighted else None
    sums = overlap_sums(logits, labels, power=power, pixel_weight=weight, per_image=per_image)
    expected = plain_overlap_sums(logits, labels, power, weight)
    if not per_image:
        expected = tuple(s.sum(0) for s in expected)
    torch.testing.assert_close(sums, expected)
    factors = [torch.randn_like(s) for s in sums[:2]]
    gradients = [
        torch.autograd.grad(
            sum((f * s).sum() for f, s in zip(factors, group[:2], strict=True)), logits
        )[0]
        for group in (sums, expected)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('noise', [0, 0.5])
def test_squares_of_many_sure_pixels_keep_their_digits(noise):
    """A norm over all pixels added one by one: sure and right, a soft Dice loss was negative."""
    labels = torch.randint(0, 2, (1, 512, 512))
    logits = torch.zeros(1, 2, 512, 512).scatter_(1, labels.unsqueeze(1), 8.5)
    logits += noise * torch.randn_like(logits)
    predicted = overlap_sums(logits, labels, power=2)[1]
    expected = plain_overlap_sums(logits.double(), labels, power=2)[1]
    torch.testing.assert_close(predicted.double(), expected.sum(0), rtol=1e-6, atol=0)
    assert soft_dice_loss(logits, labels) >= 0


def test_hits_are_the_pixels_that_argmax_gets_right():
    logits, labels = batch(size=ODD)
    _, hits = pixel_nll(logits, labels, return_hits=True)
    assert torch.equal(hits, logits.argmax(1) == labels)
    tied = torch.zeros(1, 3, 1, 2)
    assert pixel_nll(tied, torch.tensor([[[2, 255]]]), return_hits=True)[1].tolist() == [
        [[True, False]]
    ]


def test_one_channel_is_binary_cross_entropy():
    logits, labels = batch(1, dtype=torch.float32)
    valid = labels != 255
    expected = F.binary_cross_entropy_with_logits(
        logits.squeeze(1)[valid], labels[valid].float(), reduction='none'
    )
    torch.testing.assert_close(pixel_nll(logits, labels)[valid], expected)


def test_small_probabilities_keep_their_logarithm():
    logits = torch.tensor([0.0, 300.0]).view(1, 2, 1, 1)
    assert pixel_nll(logits, torch.zeros(1, 1, 1, dtype=torch.long)).item() == 300


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('primitive', [pixel_nll, overlap_sums])
def test_at_most_one_logits_sized_tensor_is_saved(primitive, dtype):
    logits, labels = batch(19, dtype=dtype, size=(2, 64, 64))
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        primitive(logits, labels)
    saved.pop(labels.untyped_storage().data_ptr(), None)  # the caller's, alive anyway
    size = logits.numel() * logits.element_size()
    assert sum(saved.values()) < 1.25 * size


def test_sums_by_label_do_not_lose_small_pixels():
    """Added up one by one in float32, a sum stops growing at 2**24."""
    ones = torch.ones(1, 4100, 4100)
    labels = torch.zeros(1, 4100, 4100, dtype=torch.long)
    assert sum_by_label(ones, labels, 2)[0].tolist() == [4100.0**2, 0.0]
    assert 4100**2 > 2**24


def test_label_lookup_ignores():
    labels = torch.tensor([[1, -100], [0, 1]])
    assert label_lookup(torch.tensor([3.0, 7.0]), labels, -100).tolist() == [[7.0, 0.0], [3.0, 7.0]]


def test_label_lookup_takes_a_table_of_integers():
    assert label_lookup(torch.tensor([3, 7]), torch.tensor([1, 255, 0])).tolist() == [7.0, 0.0, 3.0]


def test_minus_1_is_no_label_in_a_byte():
    """torch compares a byte with -1 as if that were 255."""
    labels = torch.tensor([[0, 255]], dtype=torch.uint8)
    assert label_lookup(torch.tensor([3.0, 7.0]), labels, -1).isnan().tolist() == [[False, True]]
    assert out_of_range(labels, 2, -1).tolist() == [[False, True]]


@pytest.mark.parametrize('loss', ['recall', 'lovasz', 'centerline', 'max pooling'])
def test_an_ignored_label_beyond_a_byte_hid_a_class(loss):
    """torch compares a byte with 300 as if that were 44."""
    call = {
        'recall': lambda z, y: recall_loss(z, y, ignore_index=300)[0],
        'lovasz': lambda z, y: lovasz_softmax_loss(z, y, ignore_index=300),
        'centerline': lambda z, y: centerline_dice_loss(z, y, [44], ignore_index=300),
        'max pooling': lambda z, y: LMPLoss()(z, y, ignore_index=300),
    }[loss]
    logits = torch.randn(1, 46, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.full((1, 4, 5), 44)
    labels[0, 2] = 45
    torch.testing.assert_close(call(logits, labels.byte()), call(logits, labels))


@pytest.mark.parametrize('primitive', [pixel_nll, overlap_sums])
def test_shapes_that_do_not_match(primitive):
    with pytest.raises(ValueError, match=r'logits \(1, 3, 4, 4\) and labels \(1, 4, 5\) do not'):
        primitive(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 5, dtype=torch.long))


def test_pixel_weight_of_another_shape():
    with pytest.raises(ValueError, match='pixel_weight has shape'):
        overlap_sums(
            torch.zeros(1, 3, 4, 4),
            torch.zeros(1, 4, 4, dtype=torch.long),
            pixel_weight=torch.ones(1, 4, 5),
        )


@pytest.mark.parametrize('value', [-1, 3])
def test_label_out_of_range(value):
    with pytest.raises(ValueError, match=f'labels: label {value} .* 0 to 2'):
        pixel_nll(torch.zeros(1, 3, 1, 1), torch.full((1, 1, 1), value))


@pytest.mark.parametrize('shape', [(0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)])
def test_no_pixel_at_all(shape):
    """A width of 0 was divided by."""
    logits = torch.zeros(shape, requires_grad=True)
    labels = torch.zeros(shape[0], *shape[2:], dtype=torch.long)
    sums = torch.stack(overlap_sums(logits, labels))
    (pixel_nll(logits, labels).sum() + sums.sum()).backward()
    assert sums.tolist() == [[0.0] * 3] * 3
    assert logits.grad.shape == shape
