"""The primitives on a GPU. For the backward pass they keep the logits and a number per pixel.

Each launch is an operator of its own, so that ``torch.compile`` takes a loss as one graph.
"""

import torch
import triton
from torch import Tensor
from torch.autograd import Function

from mmseg_balance.functional.first_order import first_order
from mmseg_balance.functional.primitives.triton import nll_kernels, overlap_kernels
from mmseg_balance.functional.primitives.triton.blocks import (
    nll_block,
    overlap_block,
    sums_block,
    sums_programs,
)
from mmseg_balance.functional.primitives.triton.operators import operator, shapes_of
from mmseg_balance.functional.primitives.triton.tiles import (
    COMPILER,
    power_constant,
    source_arguments,
)
from mmseg_balance.functional.primitives.triton.upsampling import cells_backward


class PixelNLL(Function):
    """``(N, H, W)`` negative log-probabilities and whether the label's logit is the largest."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, return_hits, align_corners):
        labels = labels.contiguous()
        nll, lse, hits = nll_forward(logits, labels, ignore_index, align_corners)
        ctx.save_for_backward(logits, labels, lse)
        ctx.ignore_index, ctx.align_corners = ignore_index, align_corners
        if return_hits:
            ctx.mark_non_differentiable(hits)
        return nll, hits if return_hits else None

    @staticmethod
    @first_order
    def backward(ctx, grad, _):
        out = nll_backward(
            *ctx.saved_tensors, grad.contiguous(), ctx.ignore_index, ctx.align_corners
        )
        return out, None, None, None, None


class OverlapSums(Function):
    """Soft intersection, prediction and target, ``(N, C)`` each, and the nll if wanted."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, power, pixel_weight, with_nll, align_corners):
        labels = labels.contiguous()
        if pixel_weight is not None:
            pixel_weight = pixel_weight.float().contiguous()
        sums, lse, nll = overlap_forward(
            logits, labels, pixel_weight, ignore_index, float(power), with_nll, align_corners
        )
        ctx.save_for_backward(logits, labels, lse, pixel_weight)
        ctx.ignore_index, ctx.power, ctx.align_corners = ignore_index, float(power), align_corners
        return sums[:, 0], sums[:, 1], sums[:, 2], nll if with_nll else None

    @staticmethod
    @first_order
    def backward(ctx, grad_intersection, grad_predicted, _, grad_nll):
        logits, labels, lse, pixel_weight = ctx.saved_tensors
        out = overlap_backward(
            logits,
            labels,
            lse,
            pixel_weight,
            grad_intersection.contiguous(),
            (ctx.power * grad_predicted).contiguous(),
            None if grad_nll is None else grad_nll.contiguous(),
            ctx.ignore_index,
            ctx.power,
            ctx.align_corners,
        )
        return out, None, None, None, None, None, None


@operator('nll_forward')
def nll_forward(
    logits: Tensor, labels: Tensor, ignore_index: int, align_corners: bool | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, log-sum-exp and hits, ``(N, H, W)`` each."""
    nll, lse, hits = _nll_outputs(logits, labels, ignore_index, align_corners)
    block = nll_block(logits, align_corners)
    grid = (triton.cdiv(labels[0].numel(), block['BLOCK_P']), len(labels))
    nll_kernels.nll_forward_kernel[grid](
        logits,
        labels,
        nll,
        lse,
        hits,
        logits.shape[1],
        labels[0].numel(),
        ignore_index,
        **source_arguments(logits, labels.shape[1:], align_corners),
        **block,
        **COMPILER,
    )
    return nll, lse, hits


@shapes_of(nll_forward)
def _nll_outputs(logits, labels, ignore_index, align_corners):
    nll, lse = (torch.empty_like(labels, dtype=torch.float32) for _ in range(2))
    return nll, lse, torch.empty_like(labels, dtype=torch.bool)


@operator('nll_backward')
def nll_backward(
    logits: Tensor,
    labels: Tensor,
    lse: Tensor,
    grad: Tensor,
    ignore_index: int,
    align_corners: bool | None,
) -> Tensor:
    """Gradient of the logits, given that of the losses."""
    if align_corners is not None:
        return cells_backward(logits, labels, lse, ignore_index, align_corners, slope=grad).to(
            logits.dtype
        )
    out, block = torch.empty_like(logits), nll_block(logits, None)
    grid = (triton.cdiv(labels[0].numel(), block['BLOCK_P']), len(labels))
    nll_kernels.nll_backward_kernel[grid](
        logits,
        labels,
        lse,
        grad,
        out,
        logits.shape[1],
        labels[0].numel(),
        ignore_index,
        *out.stride(),
        **source_arguments(logits, labels.shape[1:], None),
        OUT_DENSE_ROWS=_rows_are_dense(out),
        **block,
        **COMPILER,
    )
    return out


@shapes_of(nll_backward)
def _nll_gradient(logits, labels, lse, grad, ignore_index, align_corners):
    return _gradient(logits, align_corners)


@operator('overlap_forward')
def overlap_forward(
    logits: Tensor,
    labels: Tensor,
    pixel_weight: Tensor | None,
    ignore_index: int,
    power: float,
    with_nll: bool,
    align_corners: bool | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums ``(N, 3, C)``: intersection, predicted, target; log-sum-exp and nll ``(N, H, W)``.

    The nll is empty where it is not wanted.
    """
    images, classes = logits.shape[:2]
    _, lse, nll = _overlap_outputs(
        logits, labels, pixel_weight, ignore_index, power, with_nll, align_corners
    )
    block = sums_block(classes, labels, align_corners is not None)
    programs = sums_programs(logits, labels, block)
    sums = torch.empty((images, programs, 3, classes), dtype=torch.float32, device=logits.device)
    overlap_kernels.overlap_forward_kernel[programs, images](
        logits,
        labels,
        pixel_weight,
        lse,
        nll,
        sums,
        classes,
        labels[0].numel(),
        ignore_index,
        power,
        **source_arguments(logits, labels.shape[1:], align_corners),
        WEIGHTED=pixel_weight is not None,
        WITH_NLL=with_nll,
        POWER=power_constant(power),
        **block,
        **COMPILER,
    )
    return sums.sum(1, dtype=torch.float64).float(), lse, nll


@shapes_of(overlap_forward)
def _overlap_outputs(logits, labels, pixel_weight, ignore_index, power, with_nll, align_corners):
    sums = logits.new_empty((logits.shape[0], 3, logits.shape[1]), dtype=torch.float32)
    lse = torch.empty_like(labels, dtype=torch.float32)
    return sums, lse, torch.empty_like(lse) if with_nll else lse.new_empty(0)


@operator('overlap_backward')
def overlap_backward(
    logits: Tensor,
    labels: Tensor,
    lse: Tensor,
    pixel_weight: Tensor | None,
    intersection_slope: Tensor,
    predicted_slope: Tensor,
    nll_slope: Tensor | None,
    ignore_index: int,
    power: float,
    align_corners: bool | None,
) -> Tensor:
    """Gradient of the logits, given those of intersection, ``power`` x prediction, and nll."""
    if align_corners is None:
        out = torch.empty_like(logits)
        strides = out.stride()
    else:
        out, strides = torch.empty_like(lse), (0, 0, 0, 0)
    block = overlap_block(logits.shape[1], align_corners is not None)
    grid = (triton.cdiv(labels[0].numel(), block['BLOCK_P']), len(labels))
    overlap_kernels.overlap_backward_kernel[grid](
        logits,
        labels,
        pixel_weight,
        lse,
        intersection_slope,
        predicted_slope,
        nll_slope,
        out,
        logits.shape[1],
        labels[0].numel(),
        ignore_index,
        power,
        *strides,
        **source_arguments(logits, labels.shape[1:], align_corners),
        OUT_DENSE_ROWS=align_corners is None and _rows_are_dense(out),
        WEIGHTED=pixel_weight is not None,
        WITH_NLL=nll_slope is not None,
        POWER=power_constant(power),
        **block,
        **COMPILER,
    )
    if align_corners is None:
        return out
    return cells_backward(
        logits,
        labels,
        lse,
        ignore_index,
        align_corners,
        slope=nll_slope,
        pixel_weight=pixel_weight,
        power=power,
        total=out,
        intersection_slope=intersection_slope,
        predicted_slope=predicted_slope,
    ).to(logits.dtype)


@shapes_of(overlap_backward)
def _overlap_gradient(
    logits,
    labels,
    lse,
    pixel_weight,
    intersection_slope,
    predicted_slope,
    nll_slope,
    ignore_index,
    power,
    align_corners,
):
    return _gradient(logits, align_corners)


def _gradient(logits: Tensor, align_corners: bool | None) -> Tensor:
    if align_corners is None:
        return torch.empty_like(logits)
    return torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)


def _rows_are_dense(out: Tensor) -> bool:
    return out.shape[2] == 1 or out.stride(2) == out.shape[3] * out.stride(3)
