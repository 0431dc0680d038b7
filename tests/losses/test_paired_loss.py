"""A region and a pixel loss computed together are what they are apart."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_balance.functional.logits import PairedLogits, UpsampledLogits
from mmseg_balance.functional.primitives import (
    overlap_sums,
    pixel_nll,
    pixel_nll_and_overlap_sums,
    tiled,
)
from tests.support.losses import CLASSES, WEIGHTS, batch

PAIRS = [
    (dict(type='WeightedCrossEntropyLoss', class_weight=WEIGHTS), dict(type='SoftDiceLoss')),
    (dict(type='SoftTverskyLoss', over='image'), dict(type='SoftmaxFocalLoss', loss_weight=2.0)),
    (dict(type='SoftIoULoss'), dict(type='LMPLoss', ratio=0.5)),
    (dict(type='SoftDiceLoss'), dict(type='RecallLoss')),
    (dict(type='LovaszSoftmaxLoss'), dict(type='WeightedCrossEntropyLoss', label_smoothing=0.1)),
    (dict(type='SoftDiceLoss'), dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    (dict(type='SoftDiceLoss'), dict(type='CrossEntropyLoss', reduction='sum')),  # its own
]


def value_and_gradient(function, leaf):
    value = function(leaf)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize('pair', PAIRS, ids=lambda pair: '+'.join(loss['type'] for loss in pair))
@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
@pytest.mark.parametrize('weighted', [False, True])
def test_the_sum_of_its_losses(pair, dtype, weighted):
    logits, labels = batch(dtype=dtype, size=(2, 41, 51))
    weight = torch.rand(labels.shape) if weighted else None
    if weighted and pair[0]['type'] == 'LovaszSoftmaxLoss':
        pytest.skip('knows no weights')
    together = MODELS.build(dict(type='PairedLoss', losses=list(pair), loss_weight=0.5))
    alone = [MODELS.build(config) for config in pair]
    arguments = dict(weight=weight, ignore_index=255)
    found = value_and_gradient(lambda z: together(z, labels, **arguments), logits)
    expected = value_and_gradient(
        lambda z: 0.5 * sum(loss(z, labels, **arguments) for loss in alone), logits
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    'pair', PAIRS[:3], ids=lambda pair: '+'.join(loss['type'] for loss in pair)
)
def test_one_softmax_for_both(pair, monkeypatch):
    made = []
    original = tiled.softmax_into
    monkeypatch.setattr(
        tiled,
        'softmax_into',
        lambda out, z, valid: made.append(z.numel()) or original(out, z, valid),
    )
    logits, labels = batch(dtype=torch.float32)
    MODELS.build(dict(type='PairedLoss', losses=list(pair)))(logits, labels)
    assert sum(made) == logits.numel()


def test_low_resolution():
    loss = MODELS.build(dict(type='PairedLoss', losses=list(PAIRS[0])))
    low = torch.randn(2, CLASSES, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(CLASSES, (2, 17, 21))
    labels[0, :3] = 255
    logits = UpsampledLogits(low, (17, 21), False)
    assert loss.supports_low_resolution
    torch.testing.assert_close(
        value_and_gradient(lambda z: loss(UpsampledLogits(z, (17, 21), False), labels), low),
        value_and_gradient(lambda z: loss(logits.full, labels), low),
    )


def test_primitive_is_both_primitives():
    logits, labels = batch()
    nll, sums = pixel_nll_and_overlap_sums(logits, labels, power=1.5, per_image=True)
    torch.testing.assert_close(nll, pixel_nll(logits, labels))
    torch.testing.assert_close(sums, overlap_sums(logits, labels, power=1.5, per_image=True))
    assert torch.autograd.gradcheck(
        lambda z: (
            pixel_nll_and_overlap_sums(z, labels[:, :3, :4], power=1.5)[:1]
            + pixel_nll_and_overlap_sums(z, labels[:, :3, :4], power=1.5)[1][:2]
        ),
        logits[:, :, :3, :4].detach().requires_grad_(),
    )


def test_pixel_losses_of_other_labels_are_not_found():
    logits, labels = batch()
    paired = PairedLogits(logits)
    overlap_sums(paired, labels)
    others = torch.where(labels == 1, 2, labels)
    torch.testing.assert_close(pixel_nll(paired, others), pixel_nll(logits, others))
    inside = torch.where(labels == 255, 0, labels)
    overlap_sums(paired, inside)
    torch.testing.assert_close(pixel_nll(paired, inside, 1), pixel_nll(logits, inside, 1))


def test_one_loss_is_no_pair():
    with pytest.raises(ValueError, match='two losses or more'):
        MODELS.build(dict(type='PairedLoss', losses=[dict(type='SoftDiceLoss')]))


def test_class_weights_of_a_pair_were_ignored():
    message = r'class_weight=\[.*\] of PairedLoss .* configs in losses, .*_delete_=True'
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='PairedLoss', losses=list(PAIRS[1]), class_weight=WEIGHTS))
    MODELS.build(dict(type='PairedLoss', losses=list(PAIRS[1]), class_weight=None))


def test_a_pair_in_a_pair():
    logits, labels = batch()
    pair = [dict(type='SoftIoULoss'), dict(type='RecallLoss')]
    inner = dict(type='PairedLoss', losses=pair)
    nested = MODELS.build(dict(type='PairedLoss', losses=[dict(type='SoftDiceLoss'), inner]))
    flat = MODELS.build(dict(type='PairedLoss', losses=[dict(type='SoftDiceLoss'), *pair]))
    torch.testing.assert_close(
        value_and_gradient(lambda z: nested(z, labels), logits),
        value_and_gradient(lambda z: flat(z, labels), logits),
    )
