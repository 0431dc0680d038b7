"""The primitives on a CPU for float32 and float64 logits, one tile of rows at a time.

A tile of logits stays in the processor's cache from one pass to the next. The exponential is most of
the work, so the probabilities are kept for the backward pass, and nothing else of that size. They
are exactly 0 at ignored pixels, which thereby drop out of every sum and gradient without a mask.
The labels have been checked.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd import Function

from mmseg_balance.functional.exponential import LOG2_E, exp_
from mmseg_balance.functional.first_order import first_order
from mmseg_balance.functional.labels import sum_by_label, valid_and_index

TILE = 1 << 19  # logits in a tile: 2 MB of float32
MODERATE = 40.0  # largest logits so far from 0 at most: exponentials of the logits are harmless


class PixelNLL(Function):
    """``(N, H, W)`` negative log-probabilities, and whether the label's logit is the largest."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, return_hits, align_corners):
        valid, index = valid_and_index(labels, ignore_index)
        p = torch.empty_like(logits)
        m, log_d, z_label = (torch.empty_like(labels, dtype=p.dtype) for _ in range(3))
        for pixels, block in tiles(logits.shape):
            z = logits[block]
            m[pixels], log_d[pixels] = softmax_into(p[block], z, valid[pixels])
            z_label[pixels] = at_label(z, index[pixels])
        ctx.save_for_backward(p, labels)
        ctx.ignore_index = ignore_index
        hits = None
        if return_hits:
            hits = (z_label >= m) & valid
            ctx.mark_non_differentiable(hits)
        return nll_of(m, log_d, z_label, valid), hits

    @staticmethod
    @first_order
    def backward(ctx, grad, _):
        p, labels = ctx.saved_tensors
        valid, index = valid_and_index(labels, ctx.ignore_index)
        slope = torch.where(valid, grad, 0)
        out = torch.empty_like(p)
        for pixels, block in tiles(p.shape):
            tile_slope = slope[pixels].unsqueeze(1)
            torch.mul(p[block], tile_slope, out=out[block])
            out[block].scatter_add_(1, index[pixels].unsqueeze(1), -tile_slope)
        return out, None, None, None, None


class OverlapSums(Function):
    """Soft intersection, prediction and target, ``(N, C)`` each, and the nll if wanted."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, power, pixel_weight, with_nll, align_corners):
        classes = logits.shape[1]
        valid, index = valid_and_index(labels, ignore_index)
        p = torch.empty_like(logits)
        m, log_d, z_label, p_label = (torch.empty_like(labels, dtype=p.dtype) for _ in range(4))
        predicted = torch.zeros(logits.shape[:2], dtype=torch.float64)
        for pixels, block in tiles(logits.shape):
            z = logits[block]
            m[pixels], log_d[pixels] = softmax_into(p[block], z, valid[pixels])
            p_label[pixels] = at_label(p[block], index[pixels])
            if with_nll:
                z_label[pixels] = at_label(z, index[pixels])
            weight = None if pixel_weight is None else pixel_weight[pixels]
            predicted[pixels[0]] += class_sums(p[block], power, weight)
        ctx.save_for_backward(p, labels, p_label, pixel_weight)
        ctx.ignore_index, ctx.power = ignore_index, power
        weight, weighted = valid.to(p.dtype), p_label  # 0 where ignored
        if pixel_weight is not None:
            weight, weighted = weight * pixel_weight, p_label * pixel_weight
        return (
            sum_by_label(weighted, labels, classes, ignore_index),
            predicted.to(p.dtype),
            sum_by_label(weight, labels, classes, ignore_index),
            nll_of(m, log_d, z_label, valid) if with_nll else None,
        )

    @staticmethod
    @first_order
    def backward(ctx, grad_intersection, grad_predicted, _, grad_nll):
        # With a_c = p_c dL/dp_c, the softmax turns dL/dp into dL/dz_c = a_c - p_c sum_k a_k;
        # the nll adds slope * (p - one-hot label).
        p, labels, p_label, pixel_weight = ctx.saved_tensors
        valid, index = valid_and_index(labels, ctx.ignore_index)
        for_class = (ctx.power * grad_predicted)[:, :, None, None]
        a_label = grad_intersection.gather(1, index.flatten(1)).view_as(index) * p_label
        if pixel_weight is not None:
            a_label = a_label * pixel_weight
        slope = None if grad_nll is None else torch.where(valid, grad_nll, 0)
        out = torch.empty_like(p)
        for pixels, block in tiles(p.shape):
            tile, a = p[block], out[block]
            powered_times(tile, ctx.power, for_class[pixels[0]], out=a)
            if pixel_weight is not None:
                a.mul_(pixel_weight[pixels].unsqueeze(1))
            label_step = a_label[pixels].unsqueeze(1)
            total = a.sum(1, keepdim=True).add_(label_step)
            if slope is not None:
                tile_slope = slope[pixels].unsqueeze(1)
                total.sub_(tile_slope)
                label_step = label_step - tile_slope
            a.addcmul_(tile, total, value=-1)
            a.scatter_add_(1, index[pixels].unsqueeze(1), label_step)
        return out, None, None, None, None, None, None


def tiles(shape: torch.Size) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice, slice]]]:
    """Images and rows of a tile, to index ``(N, H, W)`` and ``(N, C, H, W)`` with."""
    images, classes, height, width = shape
    rows = max(1, min(height, TILE // (classes * width)))
    for image in range(images):
        for top in range(0, height, rows):
            at = slice(image, image + 1), slice(top, min(top + rows, height))
            yield at, (at[0], slice(None), at[1])


def softmax_into(out: Tensor, z: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Write the probabilities, 0 where ignored; return the largest logit m and log sum exp(z - m).

    By hand: torch's softmax over dim 1 of an NCHW tensor takes longer on a CPU.
    """
    m = z.amax(1)
    if not are_moderate(m):
        # Ignored pixels have no say in how the others are rounded, and may be NaN or infinite.
        z, m = torch.where(valid.unsqueeze(1), z, 0), torch.where(valid, m, 0)
    if are_moderate(m):
        torch.mul(z, LOG2_E, out=out).exp2_()  # a pass less than with the largest taken off
        total = torch.where(valid, out.sum(1), torch.inf)
        d = (total * (m * -LOG2_E).exp2_()).clamp_(min=1)  # rounded as above: m itself cancels
    else:
        exp_(torch.sub(z, m.unsqueeze(1), out=out))
        total = d = torch.where(valid, out.sum(1), torch.inf)
    out.div_(total.unsqueeze(1))
    return m, d.log()


def are_moderate(m: Tensor) -> bool:
    """Whether no largest logit is far from 0; False if one is NaN."""
    low, high = m.aminmax()
    return bool(low > -MODERATE) and bool(high < MODERATE)


def at_label(values: Tensor, index: Tensor) -> Tensor:
    """``(N, H, W)`` value of each pixel's label."""
    return values.gather(1, index.unsqueeze(1)).squeeze(1)


def nll_of(m: Tensor, log_d: Tensor, z_label: Tensor, valid: Tensor) -> Tensor:
    """Not -log of a probability: that underflows where its logarithm is far from infinite."""
    return torch.where(valid, (m - z_label) + log_d, 0)


def class_sums(p: Tensor, power: float, pixel_weight: Tensor | None) -> Tensor:
    """``(N, C)`` sums of ``pixel_weight * p ** power``."""
    if pixel_weight is None and power == 2:
        # A norm makes no squares, but adds one by one: over all pixels it loses half its digits.
        return torch.linalg.vector_norm(p, dim=3).square().sum(2)
    powered = p if power == 1 else p**power
    if pixel_weight is not None:
        powered = powered * pixel_weight.unsqueeze(1)
    return powered.sum((2, 3))


def powered_times(p: Tensor, power: float, factor: Tensor, out: Tensor) -> None:
    """Write ``p ** power * factor``."""
    if power == 1:
        torch.mul(p, factor, out=out)
    elif power == 2:
        torch.mul(p, p, out=out).mul_(factor)
    else:
        torch.pow(p, power, out=out).mul_(factor)
