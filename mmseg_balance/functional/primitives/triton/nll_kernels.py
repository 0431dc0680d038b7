"""Negative log-likelihood: the classes in blocks, with a running maximum m and sum d."""

import triton
import triton.language as tl

from mmseg_balance.functional.primitives.triton.tiles import load_labels, load_tile, out_offset


@triton.jit
def nll_forward_kernel(
    logits,
    labels,
    nll,
    lse,
    hits,
    num_classes,
    num_pixels,
    ignore_index,
    stride_n,
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
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Loss, log-sum-exp and hit of each pixel; nothing of the classes is written."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    inside = pixel < num_pixels
    label, valid, bad = load_labels(
        labels, image, pixel, inside, num_pixels, num_classes, ignore_index
    )
    m = tl.full((BLOCK_P,), -float('inf'), tl.float32)
    d = tl.zeros((BLOCK_P,), tl.float32)
    z_label = tl.zeros((BLOCK_P,), tl.float32)
    # 1. Online softmax: d is the sum of exp(z - m) over the classes so far.
    for first in range(0, num_classes, BLOCK_C):
        classes = first + tl.arange(0, BLOCK_C)
        z = load_tile(
            logits + image * stride_n,
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
            DENSE_ROWS,
            UPSAMPLED,
        )
        z = tl.where(valid[None, :], z, 0.0)
        m_new = tl.maximum(m, tl.max(z, 0))
        m_safe = tl.where(m_new == -float('inf'), 0.0, m_new)  # all classes so far are -inf
        d = d * tl.exp(m - m_safe) + tl.sum(tl.exp(z - m_safe[None, :]), 0)
        z_label += tl.sum(tl.where(classes[:, None] == label[None, :], z, 0.0), 0)
        m = m_new
    log_d = tl.where(bad, float('nan'), tl.log(d))
    at = image * num_pixels + pixel
    # 2. Not -log of a probability: that underflows where its logarithm is far from infinite.
    tl.store(nll + at, tl.where(valid, (m - z_label) + log_d, 0.0), mask=inside)
    tl.store(lse + at, tl.where(valid, m + log_d, float('inf')), mask=inside)
    tl.store(hits + at, valid & (z_label >= m), mask=inside)


@triton.jit
def nll_backward_kernel(
    logits,
    labels,
    lse,
    grad,
    out,
    num_classes,
    num_pixels,
    ignore_index,
    out_stride_n,
    out_stride_c,
    out_stride_h,
    out_stride_w,
    stride_n,
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
    OUT_DENSE_ROWS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """``slope * (p - one-hot label)``, p from the logits and the log-sum-exp."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    inside = pixel < num_pixels
    label, valid, bad = load_labels(
        labels, image, pixel, inside, num_pixels, num_classes, ignore_index
    )
    at = image * num_pixels + pixel
    log_sum = tl.load(lse + at, mask=inside, other=float('inf'))
    slope = tl.where(valid, tl.load(grad + at, mask=inside, other=0.0), 0.0)
    place = out_offset(pixel, width, out_stride_h, out_stride_w, OUT_DENSE_ROWS)
    for first in range(0, num_classes, BLOCK_C):
        classes = first + tl.arange(0, BLOCK_C)
        z = load_tile(
            logits + image * stride_n,
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
            DENSE_ROWS,
            UPSAMPLED,
        )
        prob = tl.exp(tl.where(valid[None, :], z, 0.0) - log_sum[None, :])
        step = tl.where(classes[:, None] == label[None, :], prob - 1.0, prob) * slope[None, :]
        target = out + image * out_stride_n + classes.to(tl.int64)[:, None] * out_stride_c
        tl.store(
            target + place[None, :],
            step.to(out.dtype.element_ty),
            mask=(classes < num_classes)[:, None] & inside[None, :],
        )
