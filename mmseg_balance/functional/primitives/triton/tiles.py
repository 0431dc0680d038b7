"""A tile of logits, classes by pixels, read as it lies in memory or interpolated on the way.

A kernel gets what ``source_arguments`` returns: the strides of the logits in elements (so any layout
will do, channels-last included) and, to interpolate, the tables of :func:`line_tables`. Offsets are 64-bit.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmseg_balance.functional.primitives.interpolation import (
    kept_by_size,
    source_lines,
    source_lines_on,
)

# Of every launch: a * b + c in one instruction, which Triton stops doing by itself in 3.10.
COMPILER = dict(enable_fp_fusion=True)


@triton.jit
def load_tile(
    logits,
    classes,
    num_classes,
    pixel,
    inside,
    stride_c,
    stride_h,
    stride_w,
    width,
    low_height,
    low_width,
    row_lower,
    row_share,
    column_lower,
    column_share,
    DENSE_ROWS: tl.constexpr,
    UPSAMPLED: tl.constexpr,
):
    """``(classes, pixels)`` float32 logits, -inf beyond the last class or pixel.

    ``logits`` points at the image, ``pixel`` counts along the rows of the labels.
    """
    mask = (classes < num_classes)[:, None] & inside[None, :]
    plane = logits + classes.to(tl.int64)[:, None] * stride_c
    if DENSE_ROWS:
        tile = tl.load(
            plane + (pixel.to(tl.int64) * stride_w)[None, :], mask=mask, other=-float('inf')
        ).to(tl.float32)
    else:
        row = pixel // width
        column = pixel - row * width
        if UPSAMPLED:
            top = tl.load(row_lower + row, mask=inside, other=0)
            left = tl.load(column_lower + column, mask=inside, other=0)
            down = tl.load(row_share + row, mask=inside, other=0.0)
            right = tl.load(column_share + column, mask=inside, other=0.0)
            upper, lower = row_pair(
                plane, mask, top, left, low_height, low_width, stride_h, stride_w, right
            )
            tile = tl.where(mask, upper + (lower - upper) * down[None, :], -float('inf'))
        else:
            offset = row.to(tl.int64) * stride_h + column.to(tl.int64) * stride_w
            tile = tl.load(plane + offset[None, :], mask=mask, other=-float('inf')).to(tl.float32)
    return tile


@triton.jit
def row_pair(plane, mask, top, left, low_height, low_width, stride_h, stride_w, right):
    """The two low-resolution rows around each pixel, interpolated along the row."""
    upper_left, upper_right, lower_left, lower_right = corners(
        plane, mask, top, left, low_height, low_width, stride_h, stride_w
    )
    upper = upper_left + (upper_right - upper_left) * right[None, :]
    lower = lower_left + (lower_right - lower_left) * right[None, :]
    return upper, lower


@triton.jit
def corners(plane, mask, top, left, low_height, low_width, stride_h, stride_w):
    """The four low-resolution logits around each pixel, as float32."""
    upper = plane + (top.to(tl.int64) * stride_h)[None, :]
    lower = plane + (tl.minimum(top + 1, low_height - 1).to(tl.int64) * stride_h)[None, :]
    near = (left.to(tl.int64) * stride_w)[None, :]
    far = (tl.minimum(left + 1, low_width - 1).to(tl.int64) * stride_w)[None, :]
    return (
        tl.load(upper + near, mask=mask, other=0.0).to(tl.float32),
        tl.load(upper + far, mask=mask, other=0.0).to(tl.float32),
        tl.load(lower + near, mask=mask, other=0.0).to(tl.float32),
        tl.load(lower + far, mask=mask, other=0.0).to(tl.float32),
    )


@kept_by_size
def line_tables(
    size: int, output_size: int, align_corners: bool, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Where output lines come from, as the kernels read it.

    The tables are made on the device, for a copy from the host is illegal while a CUDA graph is
    captured; the largest cell, a number that the host needs, is found on the host.

    Args:
        size: number of input lines h.
        output_size: number of output lines H.
        align_corners: as in ``F.interpolate``.
        device: where the kernels run.

    Returns:
        lower line ``(H,)`` int32; share of the upper line ``(H,)`` float32; first output line of
        each input line's cell ``(h + 1,)`` int32; the largest number of output lines in a cell.

    Example:
        >>> lower, share, first, most = line_tables(2, 4, False, torch.device('cpu'))
        >>> lower.tolist(), share.tolist(), first.tolist(), most
        ([0, 0, 0, 1], [0.0, 0.25, 0.75, 0.25], [0, 3, 4], 3)
    """
    lower, _, share = source_lines_on(size, output_size, align_corners, device)
    first = torch.searchsorted(lower, torch.arange(size + 1, device=device))
    on_host, _, _ = source_lines(size, output_size, align_corners)
    most = int(on_host.bincount().max())
    return lower.int(), share.float(), first.int(), most


def source_arguments(logits: Tensor, size: torch.Size, align_corners: bool | None) -> dict:
    """The keyword arguments with which a kernel calls :func:`load_tile`.

    Args:
        logits: ``(N, C, h, w)``, of any strides.
        size: ``(H, W)`` of the labels.
        align_corners: None, or how to interpolate.
    """
    low_height, low_width = logits.shape[2:]
    upsampled = align_corners is not None
    tables = [None] * 4
    if upsampled:
        rows = line_tables(low_height, size[0], align_corners, logits.device)
        columns = line_tables(low_width, size[1], align_corners, logits.device)
        tables = [rows[0], rows[1], columns[0], columns[1]]
    stride_n, stride_c, stride_h, stride_w = logits.stride()
    dense = stride_h == low_width * stride_w or low_height == 1
    return dict(
        stride_n=stride_n,
        stride_c=stride_c,
        stride_h=stride_h,
        stride_w=stride_w,
        width=size[1],
        low_height=low_height,
        low_width=low_width,
        row_lower=tables[0],
        row_share=tables[1],
        column_lower=tables[2],
        column_share=tables[3],
        DENSE_ROWS=dense and not upsampled,
        UPSAMPLED=upsampled,
    )


@triton.jit
def load_labels(labels, image, pixel, inside, num_pixels, num_classes, ignore_index):
    """Labels as int32, -1 where none; where a pixel counts; and where its label is out of range."""
    label = tl.load(labels + image * num_pixels + pixel, mask=inside, other=ignore_index)
    valid = label != ignore_index
    bad = valid & ((label < 0) | (label >= num_classes))
    return tl.where(valid & (bad == 0), label, -1).to(tl.int32), valid, bad


@triton.jit
def power_of(log_prob, prob, power, POWER: tl.constexpr):
    """prob ** power; POWER is 0 where the exponent is known at run time only."""
    if POWER == 1:
        powered = prob
    elif POWER == 2:
        powered = prob * prob
    else:
        powered = tl.where(prob == 0, 0.0, tl.exp(log_prob * power))
    return powered


def power_constant(power: float) -> int:
    """The constant POWER of :func:`power_of`, for which a kernel is compiled."""
    return int(power) if power in (1, 2) else 0


@triton.jit
def out_offset(pixel, width, stride_h, stride_w, DENSE_ROWS: tl.constexpr):
    """Offset of each pixel in a plane of the gradient."""
    if DENSE_ROWS:
        offset = pixel.to(tl.int64) * stride_w
    else:
        row = pixel // width
        offset = row.to(tl.int64) * stride_h + (pixel - row * width).to(tl.int64) * stride_w
    return offset
