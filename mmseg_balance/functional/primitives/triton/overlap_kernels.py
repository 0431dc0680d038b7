"""Sums of each class: all classes of a few pixels in registers, over many blocks of pixels."""

import triton
import triton.language as tl

from mmseg_balance.functional.primitives.triton.tiles import (
    load_labels,
    load_tile,
    out_offset,
    power_of,
)


@triton.jit
def sum_of_groups(tile, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr, GROUP: tl.constexpr):
    """Sums of the neighbouring pixels that one thread holds: as many registers fewer."""
    return tl.sum(tl.reshape(tile, (BLOCK_C, BLOCK_P // GROUP, GROUP)), 2)


@triton.jit
def overlap_forward_kernel(
    logits,
    labels,
    pixel_weight,
    lse,
    nll,
    sums,
    num_classes,
    num_pixels,
    ignore_index,
    power,
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
    WEIGHTED: tl.constexpr,
    WITH_NLL: tl.constexpr,
    POWER: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    GROUP: tl.constexpr,
):
    """``sums`` is (images, programs, 3, num_classes): intersection, predicted, target."""
    program, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    classes = tl.arange(0, BLOCK_C)
    intersection = tl.zeros((BLOCK_C, BLOCK_P // GROUP), tl.float32)
    predicted = tl.zeros((BLOCK_C, BLOCK_P // GROUP), tl.float32)
    target = tl.zeros((BLOCK_C, BLOCK_P // GROUP), tl.float32)
    step = tl.num_programs(0) * BLOCK_P
    for start in range(program * BLOCK_P, num_pixels, step):
        pixel = start + tl.arange(0, BLOCK_P)
        inside = pixel < num_pixels
        label, valid, bad = load_labels(
            labels, image, pixel, inside, num_pixels, num_classes, ignore_index
        )
        at = image * num_pixels + pixel
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
        # 1. log-sum-exp: +inf where ignored, NaN where the label is out of range.
        z = tl.where(valid[None, :], z, 0.0)
        m = tl.max(z, 0)
        prob = tl.exp(z - m[None, :])
        d = tl.where(bad, float('nan'), tl.sum(prob, 0))
        log_d = tl.log(d)
        log_sum = tl.where(valid, m + log_d, float('inf'))
        tl.store(lse + at, log_sum, mask=inside)
        if WITH_NLL:
            z_label = tl.sum(tl.where(classes[:, None] == label[None, :], z, 0.0), 0)
            tl.store(nll + at, tl.where(valid, (m - z_label) + log_d, 0.0), mask=inside)
        # 2. The three sums.
        prob *= tl.where(valid, 1.0 / d, 0.0)[None, :]
        weight = tl.where(bad, float('nan'), valid.to(tl.float32))
        if WEIGHTED:
            weight *= tl.load(pixel_weight + at, mask=inside, other=0.0)
        at_label = (classes[:, None] == label[None, :]) | bad[None, :]
        at_label = tl.where(at_label, weight[None, :], 0.0)
        intersection += sum_of_groups(prob * at_label, BLOCK_C, BLOCK_P, GROUP)
        target += sum_of_groups(at_label, BLOCK_C, BLOCK_P, GROUP)
        powered = power_of(z - log_sum[None, :], prob, power, POWER)
        if WEIGHTED:
            powered *= weight[None, :]
        predicted += sum_of_groups(powered, BLOCK_C, BLOCK_P, GROUP)
    row = sums + (image * tl.num_programs(0) + program) * 3 * num_classes + classes
    known = classes < num_classes
    tl.store(row, tl.sum(intersection, 1), mask=known)
    tl.store(row + num_classes, tl.sum(predicted, 1), mask=known)
    tl.store(row + 2 * num_classes, tl.sum(target, 1), mask=known)


@triton.jit
def overlap_backward_kernel(
    logits,
    labels,
    pixel_weight,
    lse,
    intersection_slope,
    predicted_slope,
    nll_slope,
    out,
    num_classes,
    num_pixels,
    ignore_index,
    power,
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
    WEIGHTED: tl.constexpr,
    WITH_NLL: tl.constexpr,
    POWER: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """The gradient of the logits; of interpolated logits the pixel's sum over classes alone.

    With a_c = p_c dL/dp_c, the softmax turns dL/dp into dL/dz_c = a_c - p_c sum_k a_k.
    """
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    inside = pixel < num_pixels
    classes = tl.arange(0, BLOCK_C)
    known = classes < num_classes
    label, valid, bad = load_labels(
        labels, image, pixel, inside, num_pixels, num_classes, ignore_index
    )
    at = image * num_pixels + pixel
    log_sum = tl.load(lse + at, mask=inside, other=float('inf'))
    for_label = tl.load(intersection_slope + image * num_classes + classes, mask=known, other=0.0)
    for_power = tl.load(predicted_slope + image * num_classes + classes, mask=known, other=0.0)
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
    # 1. a_c = p_c dL/dp_c.
    log_prob = tl.where(valid[None, :], z, 0.0) - log_sum[None, :]
    prob = tl.exp(log_prob)
    step = power_of(log_prob, prob, power, POWER) * for_power[:, None]
    step += tl.where(classes[:, None] == label[None, :], prob * for_label[:, None], 0.0)
    if WEIGHTED:
        step *= tl.load(pixel_weight + at, mask=inside, other=0.0)[None, :]
    # 2. What all classes share; the nll adds slope * (p - one-hot label).
    total = tl.sum(step, 0)
    if WITH_NLL:
        slope = tl.where(valid, tl.load(nll_slope + at, mask=inside, other=0.0), 0.0)
        total -= slope
        step -= tl.where(classes[:, None] == label[None, :], slope[None, :], 0.0)
    if UPSAMPLED:
        tl.store(out + at, total, mask=inside)
    else:
        step -= prob * total[None, :]
        target = out + image * out_stride_n + classes.to(tl.int64)[:, None] * out_stride_c
        place = out_offset(pixel, width, out_stride_h, out_stride_w, OUT_DENSE_ROWS)
        tl.store(
            target + place[None, :],
            step.to(out.dtype.element_ty),
            mask=known[:, None] & inside[None, :],
        )


@triton.jit
def label_sums_kernel(
    values,
    labels,
    sums,
    num_classes,
    num_pixels,
    ignore_index,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    GROUP: tl.constexpr,
):
    """``sums`` is (images, programs, num_classes): the values of the pixels with that label."""
    program, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    classes = tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_C, BLOCK_P // GROUP), tl.float32)
    for start in range(program * BLOCK_P, num_pixels, tl.num_programs(0) * BLOCK_P):
        pixel = start + tl.arange(0, BLOCK_P)
        inside = pixel < num_pixels
        label, valid, bad = load_labels(
            labels, image, pixel, inside, num_pixels, num_classes, ignore_index
        )
        value = tl.load(values + image * num_pixels + pixel, mask=inside, other=0).to(tl.float32)
        value = tl.where(bad, float('nan'), value)
        at_label = (classes[:, None] == label[None, :]) | bad[None, :]
        counted = tl.where(at_label, value[None, :], 0.0)
        total += sum_of_groups(counted, BLOCK_C, BLOCK_P, GROUP)
    row = sums + (image * tl.num_programs(0) + program) * num_classes + classes
    tl.store(row, tl.sum(total, 1), mask=classes < num_classes)
