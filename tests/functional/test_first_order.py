"""A second derivative is refused, for it would be wrong; all else that runs a backward pass works."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mmseg_balance.functional import (
    UpsampledLogits,
    centerline_dice_loss,
    lovasz_softmax_loss,
    overlap_sums,
    pixel_nll,
    soft_dice_loss,
    softmax_focal_loss,
)

LABELS = torch.randint(3, (2, 4, 5), generator=torch.Generator().manual_seed(0))


def low_resolution(z):
    return pixel_nll(UpsampledLogits(z[:, :, :2, :2], (4, 5), align_corners=False), LABELS).sum()


LOSSES = {
    'tiled nll': lambda z: pixel_nll(z, LABELS).square().sum(),
    'tiled sums': lambda z: overlap_sums(z, LABELS)[0].square().sum(),
    'dense nll': lambda z: pixel_nll(z.half(), LABELS).square().sum(),
    'dense sums': lambda z: overlap_sums(z.half(), LABELS)[0].square().sum(),
    'low resolution': low_resolution,
    'focal': lambda z: softmax_focal_loss(z, LABELS).sum(),
    'dice': lambda z: soft_dice_loss(z, LABELS),
    'lovasz': lambda z: lovasz_softmax_loss(z, LABELS),
}
each_loss = pytest.mark.parametrize('loss', LOSSES.values(), ids=LOSSES)


@pytest.fixture
def logits():
    return torch.randn(2, 3, 4, 5, requires_grad=True)


@each_loss
def test_a_second_derivative_was_silently_wrong(loss, logits):
    with pytest.raises(RuntimeError, match='no second derivative: call backward without'):
        torch.autograd.grad(loss(logits), logits, create_graph=True)


@each_loss
@pytest.mark.parametrize('use_reentrant', [False, True])
def test_checkpointing(loss, logits, use_reentrant):
    (expected,) = torch.autograd.grad(loss(logits), logits)
    checkpoint(loss, logits, use_reentrant=use_reentrant).backward()
    torch.testing.assert_close(logits.grad, expected)


@each_loss
def test_backward_where_gradients_are_enabled(loss, logits):
    with torch.enable_grad():
        loss(logits).backward()
    assert logits.grad.isfinite().all()


@each_loss
def test_torch_func_ended_in_an_error_of_numpy(loss, logits):
    with pytest.raises(RuntimeError, match='must override the setup_context'):
        torch.func.grad(loss)(logits.detach())


def test_a_loss_of_torch_functions_alone_takes_torch_func(logits):
    def loss(z):
        return centerline_dice_loss(z, LABELS, [1])

    (expected,) = torch.autograd.grad(loss(logits), logits)
    torch.testing.assert_close(torch.func.grad(loss)(logits.detach()), expected)
