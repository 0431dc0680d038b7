"""The kernels of the primitives: logits are read once forward; read once, written once backward.

A program takes one block of an image's pixels. The nll kernels go through the classes in blocks
with a running maximum and sum; the overlap kernels hold all classes of a few pixels in registers
and add up over many blocks of pixels before they reduce. No atomics: sums go to a buffer of each
program's own, so that a result is the same every time. Everything is computed in float32.
"""

import triton
import triton.language as tl

from mmseg_balance.functional.primitives.triton.tiles import load_tile


@triton.jit
def load_labels(labels, image, pixel, inside, num_pixels, ignore_index):
    """Labels as int32, -1 where ignored or outside."""
    label = tl.load(labels + image * num_pixels + pixel, mask=inside, other=ignore_index)
    return tl.where(label == ignore_index, -1, label).to(tl.int32)


@triton.jit
def power_of(log_prob, prob, power, POWER: tl.constexpr):
    """prob ** power; POWER is 0 where the exponent is known at run time only."""
    if POWER == 1:
        mass = prob
    elif POWER == 2:
        mass = prob * prob
    else:
        mass = tl.where(prob > 0, tl.exp(log_prob * power), 0.0)
    return mass


@triton.jit
def sum_of_fours(tile, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr):
    """Sums of four neighbouring pixels, which one thread holds: a quarter of the registers."""
    return tl.sum(tl.reshape(tile, (BLOCK_C, BLOCK_P // 4, 4)), 2)


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
    label = load_labels(labels, image, pixel, inside, num_pixels, ignore_index)
    largest = tl.full((BLOCK_P,), -float('inf'), tl.float32)
    total = tl.zeros((BLOCK_P,), tl.float32)
    label_score = tl.zeros((BLOCK_P,), tl.float32)
    for first in range(0, num_classes, BLOCK_C):
        classes = first + tl.arange(0, BLOCK_C)
        score = load_tile(
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
        score = tl.where(inside[None, :], score, 0.0)
        larger = tl.maximum(largest, tl.max(score, 0))
        total = total * tl.exp(largest - larger) + tl.sum(tl.exp(score - larger[None, :]), 0)
        label_score += tl.sum(tl.where(classes[:, None] == label[None, :], score, 0.0), 0)
        largest = larger
    valid = label >= 0
    log_total = tl.log(total)
    at = image * num_pixels + pixel
    # Not -log of a probability: that underflows where its logarithm is far from infinite.
    tl.store(nll + at, tl.where(valid, (largest - label_score) + log_total, 0.0), mask=inside)
    tl.store(lse + at, tl.where(valid, largest + log_total, float('inf')), mask=inside)
    tl.store(hits + at, valid & (label_score >= largest), mask=inside)


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
    label = load_labels(labels, image, pixel, inside, num_pixels, ignore_index)
    at = image * num_pixels + pixel
    log_sum = tl.load(lse + at, mask=inside, other=float('inf'))
    slope = tl.where(label >= 0, tl.load(grad + at, mask=inside, other=0.0), 0.0)
    place = out_offset(pixel, width, out_stride_h, out_stride_w, OUT_DENSE_ROWS)
    for first in range(0, num_classes, BLOCK_C):
        classes = first + tl.arange(0, BLOCK_C)
        score = load_tile(
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
        prob = tl.exp(score - log_sum[None, :])
        step = tl.where(classes[:, None] == label[None, :], prob - 1.0, prob) * slope[None, :]
        target = out + image * out_stride_n + classes.to(tl.int64)[:, None] * out_stride_c
        tl.store(
            target + place[None, :],
            step.to(out.dtype.element_ty),
            mask=(classes < num_classes)[:, None] & inside[None, :],
        )


@triton.jit
def out_offset(pixel, width, stride_h, stride_w, DENSE_ROWS: tl.constexpr):
    """Offset of each pixel in a plane of the gradient."""
    if DENSE_ROWS:
        offset = pixel.to(tl.int64) * stride_w
    else:
        row = pixel // width
        offset = row.to(tl.int64) * stride_h + (pixel - row * width).to(tl.int64) * stride_w
    return offset


@triton.jit
def overlap_forward_kernel(
    logits,
    labels,
    pixel_weight,
    lse,
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
    POWER: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """``sums`` is (images, programs, 3, num_classes): intersection, predicted, target."""
    program, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    classes = tl.arange(0, BLOCK_C)
    intersection = tl.zeros((BLOCK_C, BLOCK_P // 4), tl.float32)
    predicted = tl.zeros((BLOCK_C, BLOCK_P // 4), tl.float32)
    target = tl.zeros((BLOCK_C, BLOCK_P // 4), tl.float32)
    step = tl.num_programs(0) * BLOCK_P
    for start in range(program * BLOCK_P, num_pixels, step):
        pixel = start + tl.arange(0, BLOCK_P)
        inside = pixel < num_pixels
        label = load_labels(labels, image, pixel, inside, num_pixels, ignore_index)
        valid = label >= 0
        at = image * num_pixels + pixel
        score = load_tile(
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
        score = tl.where(inside[None, :], score, 0.0)
        largest = tl.max(score, 0)
        log_sum = largest + tl.log(tl.sum(tl.exp(score - largest[None, :]), 0))
        log_sum = tl.where(valid, log_sum, float('inf'))
        tl.store(lse + at, log_sum, mask=inside)
        log_prob = score - log_sum[None, :]
        prob = tl.exp(log_prob)
        weight = valid.to(tl.float32)
        if WEIGHTED:
            weight *= tl.load(pixel_weight + at, mask=inside, other=0.0)
        at_label = tl.where(classes[:, None] == label[None, :], weight[None, :], 0.0)
        intersection += sum_of_fours(prob * at_label, BLOCK_C, BLOCK_P)
        target += sum_of_fours(at_label, BLOCK_C, BLOCK_P)
        mass = power_of(log_prob, prob, power, POWER)
        if WEIGHTED:
            mass *= weight[None, :]
        predicted += sum_of_fours(mass, BLOCK_C, BLOCK_P)
    row = sums + (image * tl.num_programs(0) + program) * 3 * num_classes + classes
    known = classes < num_classes
    tl.store(row, tl.sum(intersection, 1), mask=known)
    tl.store(row + num_classes, tl.sum(predicted, 1), mask=known)
    tl.store(row + 2 * num_classes, tl.sum(target, 1), mask=known)


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
):
    """``sums`` is (images, programs, num_classes): the values of the pixels with that label."""
    program, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    classes = tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_C, BLOCK_P // 4), tl.float32)
    for start in range(program * BLOCK_P, num_pixels, tl.num_programs(0) * BLOCK_P):
        pixel = start + tl.arange(0, BLOCK_P)
        inside = pixel < num_pixels
        label = load_labels(labels, image, pixel, inside, num_pixels, ignore_index)
        value = tl.load(values + image * num_pixels + pixel, mask=inside, other=0).to(tl.float32)
        total += sum_of_fours(
            tl.where(classes[:, None] == label[None, :], value[None, :], 0.0), BLOCK_C, BLOCK_P
        )
    row = sums + (image * tl.num_programs(0) + program) * num_classes + classes
    tl.store(row, tl.sum(total, 1), mask=classes < num_classes)


@triton.jit
def overlap_backward_kernel(
    logits,
    labels,
    pixel_weight,
    lse,
    intersection_slope,
    predicted_slope,
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
    label = load_labels(labels, image, pixel, inside, num_pixels, ignore_index)
    at = image * num_pixels + pixel
    log_sum = tl.load(lse + at, mask=inside, other=float('inf'))
    for_label = tl.load(intersection_slope + image * num_classes + classes, mask=known, other=0.0)
    for_mass = tl.load(predicted_slope + image * num_classes + classes, mask=known, other=0.0)
    score = load_tile(
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
    log_prob = score - log_sum[None, :]
    prob = tl.exp(log_prob)
    step = power_of(log_prob, prob, power, POWER) * for_mass[:, None]
    step += tl.where(classes[:, None] == label[None, :], prob * for_label[:, None], 0.0)
    total = tl.sum(step, 0)
    if UPSAMPLED:
        tl.store(out + at, total, mask=inside)
    else:
        step -= prob * total[None, :]
        if WEIGHTED:
            step *= tl.load(pixel_weight + at, mask=inside, other=0.0)[None, :]
        target = out + image * out_stride_n + classes.to(tl.int64)[:, None] * out_stride_c
        place = out_offset(pixel, width, out_stride_h, out_stride_w, OUT_DENSE_ROWS)
        tl.store(
            target + place[None, :],
            step.to(out.dtype.element_ty),
            mask=known[:, None] & inside[None, :],
        )
