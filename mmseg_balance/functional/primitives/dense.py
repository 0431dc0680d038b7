"""The primitives in whole-tensor PyTorch: any device and dtype, and what ``torch.compile`` sees.

For the backward pass only the logits and each pixel's log-sum-exp are kept. That of an ignored pixel
is +inf, so its probabilities are exactly 0 and it drops out of every sum and gradient; its logits
are replaced by 0 first, so that NaN and infinity there do no harm. A label out of range makes it NaN.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from mmseg_balance.functional.exponential import exp_
from mmseg_balance.functional.first_order import first_order
from mmseg_balance.functional.labels import out_of_range, sum_by_label, valid_and_class
from mmseg_balance.functional.logits import wide_dtype


class PixelNLL(Function):
    """``(N, H, W)`` negative log-probabilities, and whether the label's logit is the largest."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, return_hits, align_corners):
        nll, lse, hits = nll_forward(logits, labels, ignore_index)
        ctx.save_for_backward(logits, labels, lse)
        ctx.ignore_index = ignore_index
        if not return_hits:
            return nll, None
        ctx.mark_non_differentiable(hits)
        return nll, hits

    @staticmethod
    @first_order
    def backward(ctx, grad, _):
        logits, labels, lse = ctx.saved_tensors
        out = nll_backward(logits, labels, lse, grad, ctx.ignore_index)
        return out.to(logits.dtype), None, None, None, None


class OverlapSums(Function):
    """Soft intersection, prediction and target, ``(N, C)`` each, and the nll if wanted."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, power, pixel_weight, with_nll, align_corners):
        *sums, nll, lse = overlap_forward(logits, labels, ignore_index, power, pixel_weight)
        ctx.save_for_backward(logits, labels, lse, pixel_weight)
        ctx.ignore_index, ctx.power = ignore_index, power
        return *sums, nll if with_nll else None

    @staticmethod
    @first_order
    def backward(ctx, grad_intersection, grad_predicted, _, grad_nll):
        logits, labels, lse, pixel_weight = ctx.saved_tensors
        slopes = Slopes(grad_intersection, ctx.power * grad_predicted, grad_nll)
        out = overlap_backward(
            logits, labels, lse, slopes, ctx.ignore_index, ctx.power, pixel_weight
        )
        return out.to(logits.dtype), None, None, None, None, None, None


class Slopes(NamedTuple):
    """Gradient of the loss by intersection, by prediction (times power), ``(N, C)``, and by nll."""

    intersection: Tensor
    predicted: Tensor
    nll: Tensor | None


def nll_forward(logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, log-sum-exp and hits, ``(N, H, W)`` each."""
    valid, index = valid_and_class(labels, logits.shape[1], ignore_index)
    bad = out_of_range(labels, logits.shape[1], ignore_index)
    # 1. log-sum-exp with the largest logit m taken off
    z = _scores(logits, valid)
    m = z.amax(1)
    log_d = exp_(z - m.unsqueeze(1)).sum(1).log().masked_fill(bad, torch.nan)
    lse = torch.where(valid, m + log_d, torch.inf)
    # 2. not -log of a probability: that underflows where its logarithm is far from infinite
    z_label = z.gather(1, index.unsqueeze(1)).squeeze(1)
    nll = torch.where(valid, (m - z_label) + log_d, 0)
    return nll, lse, (z_label >= m) & valid


def nll_backward(
    logits: Tensor, labels: Tensor, lse: Tensor, grad: Tensor, ignore_index: int
) -> Tensor:
    """``slope * (p - one-hot label)``."""
    valid, index = valid_and_class(labels, logits.shape[1], ignore_index)
    slope = torch.where(valid, grad, 0).unsqueeze(1)
    p = exp_(_scores(logits, valid) - lse.unsqueeze(1))
    return (p * slope).scatter_add(1, index.unsqueeze(1), -slope)


def overlap_forward(
    logits: Tensor, labels: Tensor, ignore_index: int, power: float, pixel_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Intersection, prediction and target ``(N, C)``, nll and log-sum-exp ``(N, H, W)``."""
    classes = logits.shape[1]
    nll, lse, _ = nll_forward(logits, labels, ignore_index)
    valid, index = valid_and_class(labels, classes, ignore_index)
    p = exp_(_scores(logits, valid) - lse.unsqueeze(1))
    p_label = p.gather(1, index.unsqueeze(1)).squeeze(1)
    predicted, weight = power_of(p, power), valid.to(p.dtype)
    if pixel_weight is not None:
        weight, p_label = weight * pixel_weight, p_label * pixel_weight
        predicted = predicted * pixel_weight.unsqueeze(1)
    return (
        sum_by_label(p_label, labels, classes, ignore_index),
        predicted.sum((2, 3)),
        sum_by_label(weight, labels, classes, ignore_index),
        nll,
        lse,
    )


def overlap_backward(
    logits: Tensor,
    labels: Tensor,
    lse: Tensor,
    slopes: Slopes,
    ignore_index: int,
    power: float,
    pixel_weight: Tensor | None,
) -> Tensor:
    """With a_c = p_c dL/dp_c, the softmax turns dL/dp into dL/dz_c = a_c - p_c sum_k a_k.

    The nll adds ``slope * (p - one-hot label)``.
    """
    valid, index = valid_and_class(labels, logits.shape[1], ignore_index)
    p = exp_(_scores(logits, valid) - lse.unsqueeze(1))
    a = power_of(p, power) * slopes.predicted[:, :, None, None]
    a_label = slopes.intersection.gather(1, index.flatten(1)).view_as(index).unsqueeze(1)
    a_label = a_label * p.gather(1, index.unsqueeze(1))
    if pixel_weight is not None:
        a, a_label = a * pixel_weight.unsqueeze(1), a_label * pixel_weight.unsqueeze(1)
    total = a.sum(1, keepdim=True) + a_label
    if slopes.nll is not None:
        slope = torch.where(valid, slopes.nll, 0).unsqueeze(1)
        total, a_label = total - slope, a_label - slope
    return (a - p * total).scatter_add(1, index.unsqueeze(1), a_label)


def power_of(p: Tensor, power: float) -> Tensor:
    """``p ** power``, by a product where that will do."""
    if power == 1:
        return p
    return p * p if power == 2 else p**power


def _scores(logits: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid.unsqueeze(1), logits, 0).to(wide_dtype(logits))
