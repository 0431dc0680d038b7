"""The primitives of logits of low resolution, which never exist at full size.

Some rows at a time are interpolated, with the coordinates of ``F.interpolate(mode='bilinear')``, and
handed to ``dense``; the gradient of those rows goes back the same way. Any device without kernels.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd import Function

from mmseg_balance.functional.first_order import first_order
from mmseg_balance.functional.logits import wide_dtype, widen
from mmseg_balance.functional.primitives import dense
from mmseg_balance.functional.primitives.interpolation import add_rows_gradient, upsample_rows

CPU_TILE = 1 << 19  # interpolated logits at once: 2 MB of float32
GPU_TILE = 1 << 26


class PixelNLL(Function):
    """``(N, H, W)`` negative log-probabilities, and whether the label's logit is the largest."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, return_hits, align_corners):
        nll, lse = (torch.empty_like(labels, dtype=wide_dtype(logits)) for _ in range(2))
        hits = torch.empty_like(labels, dtype=torch.bool)
        for at, scores in interpolated_tiles(logits, labels.shape, align_corners):
            nll[at], lse[at], hits[at] = dense.nll_forward(scores, labels[at], ignore_index)
        ctx.save_for_backward(logits, labels, lse)
        ctx.ignore_index, ctx.align_corners = ignore_index, align_corners
        if not return_hits:
            return nll, None
        ctx.mark_non_differentiable(hits)
        return nll, hits

    @staticmethod
    @first_order
    def backward(ctx, grad, _):
        logits, labels, lse = ctx.saved_tensors
        out = torch.zeros_like(logits, dtype=wide_dtype(logits))
        size = labels.shape[1:]
        for at, scores in interpolated_tiles(logits, labels.shape, ctx.align_corners):
            step = dense.nll_backward(scores, labels[at], lse[at], grad[at], ctx.ignore_index)
            add_rows_gradient(out[at[0]], step, at[1], size, ctx.align_corners)
        return out.to(logits.dtype), None, None, None, None


class OverlapSums(Function):
    """Soft intersection, prediction and target, ``(N, C)`` each, and the nll if wanted."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, power, pixel_weight, with_nll, align_corners):
        dtype = wide_dtype(logits)
        nll, lse = (torch.empty_like(labels, dtype=dtype) for _ in range(2))
        sums = logits.new_zeros((3, *logits.shape[:2]), dtype=torch.float64)
        for at, scores in interpolated_tiles(logits, labels.shape, align_corners):
            weight = None if pixel_weight is None else pixel_weight[at]
            *parts, nll[at], lse[at] = dense.overlap_forward(
                scores, labels[at], ignore_index, power, weight
            )
            sums[:, at[0]] += torch.stack(parts)
        ctx.save_for_backward(logits, labels, lse, pixel_weight)
        ctx.ignore_index, ctx.power, ctx.align_corners = ignore_index, power, align_corners
        return *sums.to(dtype).unbind(), nll if with_nll else None

    @staticmethod
    @first_order
    def backward(ctx, grad_intersection, grad_predicted, _, grad_nll):
        logits, labels, lse, pixel_weight = ctx.saved_tensors
        out = torch.zeros_like(logits, dtype=wide_dtype(logits))
        for at, scores in interpolated_tiles(logits, labels.shape, ctx.align_corners):
            slopes = dense.Slopes(
                grad_intersection[at[0]],
                ctx.power * grad_predicted[at[0]],
                None if grad_nll is None else grad_nll[at],
            )
            weight = None if pixel_weight is None else pixel_weight[at]
            step = dense.overlap_backward(
                scores, labels[at], lse[at], slopes, ctx.ignore_index, ctx.power, weight
            )
            add_rows_gradient(out[at[0]], step, at[1], labels.shape[1:], ctx.align_corners)
        return out.to(logits.dtype), None, None, None, None, None, None


def interpolated_tiles(
    logits: Tensor, shape: torch.Size, align_corners: bool
) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Images and rows of a tile, and its logits, float32 or float64."""
    images, height, width = shape
    tile = GPU_TILE if logits.is_cuda else CPU_TILE
    rows = max(1, min(height, tile // (logits.shape[1] * width)))
    for image in range(images):
        low = widen(logits[image : image + 1])
        for top in range(0, height, rows):
            at = slice(image, image + 1), slice(top, min(top + rows, height))
            yield at, upsample_rows(low, at[1], (height, width), align_corners)
