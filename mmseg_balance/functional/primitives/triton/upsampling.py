"""Backward pass of the primitives for interpolated logits, cell by cell.

A cell is the square between four neighbouring low-resolution logits. Every pixel lies in one cell,
so a program that owns a cell computes each pixel's gradient once, adds it up for the four corners,
and writes four numbers; a second step adds the corners of neighbouring cells. No atomics, and the
full-resolution gradient never exists.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmseg_balance.functional.primitives.triton.tiles import (
    COMPILER,
    corners,
    line_tables,
    power_constant,
    power_of,
)

CELL_BLOCK = dict(BLOCK_C=32, BLOCK_CELLS=32)


@triton.jit
def cells_backward_kernel(
    logits,
    labels,
    lse,
    slope,
    pixel_weight,
    total,
    intersection_slope,
    predicted_slope,
    parts,
    num_classes,
    height,
    width,
    ignore_index,
    power,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    low_height,
    low_width,
    row_first,
    row_share,
    most_rows,
    column_first,
    column_share,
    most_columns,
    OVERLAP: tl.constexpr,
    WEIGHTED: tl.constexpr,
    WITH_NLL: tl.constexpr,
    POWER: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_CELLS: tl.constexpr,
):
    """Fill ``parts``, (4, N, C, h, w): what each cell gives to its four corners.

    ``slope``: each pixel's gradient of the nll; ``total``: what all classes share of the sums' (and of ``slope``).
    """
    image = tl.program_id(2).to(tl.int64)
    classes = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    cell = tl.program_id(0) * BLOCK_CELLS + tl.arange(0, BLOCK_CELLS)
    exists = cell < low_height * low_width
    known = (classes < num_classes)[:, None] & exists[None, :]
    top, left = cell // low_width, cell % low_width
    plane = logits + image * stride_n + classes.to(tl.int64)[:, None] * stride_c
    upper_left, upper_right, lower_left, lower_right = corners(
        plane, known, top, left, low_height, low_width, stride_h, stride_w
    )
    if OVERLAP:
        of_class = image * num_classes + classes
        for_label = tl.load(intersection_slope + of_class, mask=classes < num_classes, other=0.0)
        for_power = tl.load(predicted_slope + of_class, mask=classes < num_classes, other=0.0)
    first_row, end_row = lines_of(row_first, top, exists)
    first_column, end_column = lines_of(column_first, left, exists)
    zero = tl.zeros((BLOCK_C, BLOCK_CELLS), tl.float32)
    to_upper_left, to_upper_right, to_lower_left, to_lower_right = zero, zero, zero, zero
    for row_step in range(0, most_rows):
        row = first_row + row_step
        in_row = row < end_row
        down = tl.load(row_share + row, mask=in_row, other=0.0)[None, :]
        start = upper_left + (lower_left - upper_left) * down
        rise = upper_right + (lower_right - upper_right) * down - start
        to_left, to_right = zero, zero
        for column_step in range(0, most_columns):
            column = first_column + column_step
            inside = in_row & (column < end_column)
            right = tl.load(column_share + column, mask=inside, other=0.0)[None, :]
            at = (image * height + row) * width + column
            # An ignored pixel's log-sum-exp is +inf, that of a label out of range NaN.
            label = tl.load(labels + at, mask=inside, other=ignore_index)
            valid = label != ignore_index
            is_label = classes[:, None] == tl.where(valid, label, -1)[None, :]
            z = tl.where(valid[None, :], start + rise * right, 0.0)
            log_prob = z - tl.load(lse + at, mask=inside, other=float('inf'))[None, :]
            prob = tl.exp(log_prob)
            if OVERLAP:
                step = overlap_gradient(
                    log_prob, prob, is_label, valid, at, inside, slope, total, pixel_weight,
                    for_label, for_power, power, WEIGHTED, WITH_NLL, POWER,
                )  # fmt: skip
            else:
                scale = tl.where(valid, tl.load(slope + at, mask=inside, other=0.0), 0.0)
                step = tl.where(is_label, prob - 1.0, prob) * scale[None, :]
            to_right += step * right
            to_left += step - step * right
        to_upper_left += to_left - to_left * down
        to_upper_right += to_right - to_right * down
        to_lower_left += to_left * down
        to_lower_right += to_right * down
    plane = image * num_classes + classes.to(tl.int64)[:, None]
    store_corners(
        parts, plane, num_classes, low_height * low_width, cell[None, :], known,
        to_upper_left, to_upper_right, to_lower_left, to_lower_right,
    )  # fmt: skip


@triton.jit
def lines_of(first, cell, exists):
    """First line of pixels in each row or column of cells, and the first of the next."""
    return (
        tl.load(first + cell, mask=exists, other=0),
        tl.load(first + cell + 1, mask=exists, other=0),
    )


@triton.jit
def overlap_gradient(
    log_prob,
    prob,
    is_label,
    valid,
    at,
    inside,
    slope,
    total,
    pixel_weight,
    for_label,
    for_power,
    power,
    WEIGHTED: tl.constexpr,
    WITH_NLL: tl.constexpr,
    POWER: tl.constexpr,
):
    """Gradient (BLOCK_C, BLOCK_CELLS) of the overlap sums, and of the nll, at the pixels ``at``."""
    step = power_of(log_prob, prob, power, POWER) * for_power[:, None]
    step += tl.where(is_label, prob * for_label[:, None], 0.0)
    if WEIGHTED:
        step *= tl.load(pixel_weight + at, mask=inside, other=0.0)[None, :]
    step -= prob * tl.load(total + at, mask=inside, other=0.0)[None, :]
    if WITH_NLL:
        scale = tl.where(valid, tl.load(slope + at, mask=inside, other=0.0), 0.0)
        step -= tl.where(is_label, scale[None, :], 0.0)
    return step


@triton.jit
def store_corners(
    parts, plane, num_classes, cells, cell, known, upper_left, upper_right, lower_left, lower_right
):
    """Write what the cells give to their four corners."""
    # 64-bit from the start: parts has four times as many elements as the logits.
    images = tl.num_programs(2)
    near = parts + plane * cells + cell
    part = images.to(tl.int64) * num_classes * cells
    tl.store(near, upper_left, mask=known)
    tl.store(near + part, upper_right, mask=known)
    tl.store(near + 2 * part, lower_left, mask=known)
    tl.store(near + 3 * part, lower_right, mask=known)


def cells_backward(
    logits: Tensor,
    labels: Tensor,
    lse: Tensor,
    ignore_index: int,
    align_corners: bool,
    *,
    slope: Tensor | None,
    pixel_weight: Tensor | None = None,
    power: float = 1,
    total: Tensor | None = None,
    intersection_slope: Tensor | None = None,
    predicted_slope: Tensor | None = None,
) -> Tensor:
    """Gradient of the low-resolution logits, float32.

    Args:
        logits: ``(N, C, h, w)``.
        labels, lse: ``(N, H, W)`` contiguous.
        ignore_index: the label of pixels that do not count.
        align_corners: how the logits are interpolated.
        slope: ``(N, H, W)`` gradient of the nll, or None.
        pixel_weight: ``(N, H, W)`` weights in the overlap sums, or None.
        power: exponent of the probabilities in the prediction.
        total: ``(N, H, W)`` the overlap sums' term that all classes share; None for the nll.
        intersection_slope: ``(N, C)`` gradient of the intersection.
        predicted_slope: ``(N, C)`` gradient of the prediction, times ``power``.
    """
    images, classes, low_height, low_width = logits.shape
    height, width = labels.shape[1:]
    _, row_share, row_first, most_rows = line_tables(
        low_height, height, align_corners, logits.device
    )
    _, column_share, column_first, most_columns = line_tables(
        low_width, width, align_corners, logits.device
    )
    parts = torch.empty((4, *logits.shape), dtype=torch.float32, device=logits.device)
    grid = (
        triton.cdiv(low_height * low_width, CELL_BLOCK['BLOCK_CELLS']),
        triton.cdiv(classes, CELL_BLOCK['BLOCK_C']),
        images,
    )
    cells_backward_kernel[grid](
        logits,
        labels,
        lse,
        slope,
        pixel_weight,
        total,
        intersection_slope,
        predicted_slope,
        parts,
        classes,
        height,
        width,
        ignore_index,
        float(power),
        *logits.stride(),
        low_height,
        low_width,
        row_first,
        row_share,
        most_rows,
        column_first,
        column_share,
        most_columns,
        OVERLAP=total is not None,
        WEIGHTED=pixel_weight is not None,
        WITH_NLL=total is not None and slope is not None,
        POWER=power_constant(power),
        num_warps=4,
        **CELL_BLOCK,
        **COMPILER,
    )
    upper = add_shifted(parts[0], parts[1], -1)
    lower = add_shifted(parts[2], parts[3], -1)
    return add_shifted(upper, lower, -2)


def add_shifted(near: Tensor, far: Tensor, dim: int) -> Tensor:
    """Add what each cell gives to its far line to the next line; the last line is its own next.

    Example:
        >>> add_shifted(torch.tensor([1., 2., 3.]), torch.tensor([10., 20., 30.]), 0)
        tensor([ 1., 12., 53.])
    """
    total, last = near.clone(), near.shape[dim] - 1
    total.narrow(dim, 1, last).add_(far.narrow(dim, 0, last))
    total.narrow(dim, last, 1).add_(far.narrow(dim, last, 1))
    return total
