"""Lovász-softmax: the convex closure of the Jaccard loss, with its gradient written out."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from mmseg_balance.functional.arguments import check_per_class, one_of
from mmseg_balance.functional.backend import is_compiling
from mmseg_balance.functional.first_order import first_order
from mmseg_balance.functional.labels import (
    check_label_range,
    check_shapes,
    class_indices,
    out_of_range,
)
from mmseg_balance.functional.logits import as_multiclass, refuse_low_resolution, wide_dtype, widen

CHUNK = 1 << 25  # errors sorted at once: bounds the memory of the sort, which needs 16 bytes each


def lovasz_softmax_loss(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    over: str = 'batch',
    classes: str = 'present',
    class_weight: Tensor | None = None,
) -> Tensor:
    r"""Lovász extension of the Jaccard loss of each class at the softmax errors, averaged.

    With the errors :math:`m_i = 1 - p_i(c)` on the class's G pixels and :math:`m_i = p_i(c)` on
    the others, sorted so that :math:`m_1 \ge m_2 \ge \dots`, of which the first i hold
    :math:`F_i` pixels of the class and :math:`B_i` others,

    .. math::
        \overline{\Delta_{J_c}} = \sum_i m_i \, (J_i - J_{i-1}), \qquad
        J_i = 1 - \frac{G - F_i}{G + B_i}

    (equations 8 and 9). A pixel's slope :math:`J_i - J_{i-1}` is :math:`1 / (G + B_i)` in the class
    and :math:`(G - F_i) / ((G + B_i)(G + B_i - 1))` outside of it: nothing cancels in float32.

    Convention:
        * probabilities: softmax; one channel z is two classes with logits (0, z);
        * ignored pixel: no influence, gradient exactly 0, whatever its logits (NaN and inf too);
        * label out of range: ValueError on a CPU, NaN elsewhere;
        * absent class: left out with ``classes='present'``; with ``'all'`` its loss is its largest
          probability, as the definition gives for G = 0;
        * average over classes: :math:`\sum w_c \ell_c / \sum w_c` over those included;
        * ``over='image'``: mean over the images that include a class; ``'batch'``: all as one;
        * nothing valid: 0, with gradient 0;
        * equal errors: in any order; the value is the same, the gradient is a subgradient;
        * dtype: float64 for float64 logits, float32 otherwise. One logits-sized tensor is saved.

    Args:
        logits: ``(N, C, H, W)`` scores.
        labels: ``(N, H, W)`` class of each pixel, or ``ignore_index``.
        ignore_index: Label of the pixels that do not count.
        over: ``'batch'`` or ``'image'``.
        classes: ``'present'`` or ``'all'``.
        class_weight: ``(C,)`` non-negative weights (two of them for one channel).

    Returns:
        Scalar loss.

    Raises:
        ValueError: If ``over`` or ``classes`` is unknown, ``class_weight`` has a wrong length, or the
            shapes do not match.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)
        >>> labels = torch.tensor([[[0, 1]]])
        >>> lovasz_softmax_loss(logits, labels)
        tensor(0.2315)

    Reference:
        Berman, Triki, Blaschko, "The Lovász-Softmax loss: a tractable surrogate for the
        optimization of the intersection-over-union measure in neural networks", CVPR 2018,
        https://arxiv.org/abs/1705.08790, equations 8, 9 and 11, Algorithm 1.
    """
    one_of('over', over, ('batch', 'image'))
    one_of('classes', classes, ('present', 'all'))
    logits = as_multiclass(logits)
    refuse_low_resolution(logits, 'lovasz_softmax_loss')
    check_shapes(logits, labels)
    check_per_class('class_weight', class_weight, logits.shape[1])
    labels = class_indices(labels)
    check_label_range(labels, logits.shape[1], ignore_index)
    if not logits.numel():
        return widen(logits).sum()
    return _LovaszSoftmax.apply(logits, labels, ignore_index, over, classes, class_weight)


class _LovaszSoftmax(torch.autograd.Function):
    """The slopes are known once the errors are sorted, so forward makes the gradient, too."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, over, classes, class_weight):
        dtype = wide_dtype(logits)
        valid = labels != ignore_index
        bad = out_of_range(labels, logits.shape[1], ignore_index)
        scores = torch.where(valid.unsqueeze(1), logits, 0).masked_fill_(
            bad.unsqueeze(1), torch.nan
        )
        probs = scores.softmax(1, dtype=dtype)
        # C for ignored pixels: the ignored label may be that of a class, whose pixels they are not.
        labels = torch.where(valid, torch.where(bad, 0, labels), logits.shape[1])
        groups = 1 if over == 'batch' else len(logits)
        shares = _class_shares(labels, groups, logits.shape[1], classes, class_weight, dtype)
        rows = _numpy_rows if _use_numpy(probs) else _torch_rows
        loss, grad = rows(probs, labels, valid, shares)
        if ctx.needs_input_grad[0]:
            grad.sub_((probs * grad).sum(1, keepdim=True)).mul_(probs)
            ctx.save_for_backward(grad)
            ctx.dtype = logits.dtype
        return loss

    @staticmethod
    @first_order
    def backward(ctx, grad_output):
        (grad,) = ctx.saved_tensors
        return (grad * grad_output).to(ctx.dtype), None, None, None, None, None


def _class_shares(labels, groups, num_classes, classes, class_weight, dtype) -> Tensor:
    """``(groups, C)``: the factor of each class's loss in the mean over classes and groups."""
    bins = labels.reshape(groups, -1)
    counts = torch.zeros(groups, num_classes + 1, dtype=torch.int32, device=labels.device)
    counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.int32))
    counts = counts[:, :num_classes]
    included = counts > 0 if classes == 'present' else (counts.sum(1, keepdim=True) > 0)
    weight = included.to(dtype).expand_as(counts)
    if class_weight is not None:
        weight = weight * class_weight.to(weight)
    total = weight.sum(1, keepdim=True)
    num_groups = (total > 0).sum().clamp(min=1)
    return torch.where(total > 0, weight / total, 0) / num_groups


def _torch_rows(probs, labels, valid, shares) -> tuple[Tensor, Tensor]:
    """Loss and its derivative with respect to probs, a few classes at a time on any device."""
    num_images, num_classes = probs.shape[:2]
    groups = len(shares)
    step = max(1, CHUNK // max(1, labels.numel()))
    loss, grad = probs.new_zeros(()), torch.empty_like(probs)
    for first in range(0, num_classes, step):
        part = probs[:, first : first + step]
        ids = torch.arange(first, first + part.shape[1], device=labels.device).view(1, -1, 1, 1)
        foreground = labels.unsqueeze(1) == ids
        errors = torch.where(foreground, 1 - part, part)
        errors = torch.where(valid.unsqueeze(1), errors, -1)  # behind all others
        values, slopes = _lovasz_rows(_to_rows(errors, groups), _to_rows(foreground, groups))
        share = shares[:, first : first + step].reshape(-1)  # rows are (group, class)
        loss = loss + (values * share).sum()
        slopes = (slopes * share.unsqueeze(1)).view(groups, part.shape[1], num_images // groups, -1)
        slopes = slopes.transpose(1, 2).reshape(part.shape)
        grad[:, first : first + step] = torch.where(foreground, -slopes, slopes)
    return loss, grad


def _to_rows(values: Tensor, groups: int) -> Tensor:
    """``(N, K, H, W)`` to ``(groups * K, pixels of the group)``."""
    split = values.reshape(groups, -1, *values.shape[1:])
    return split.transpose(1, 2).reshape(groups * values.shape[1], -1)


def _lovasz_rows(errors: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Lovász extension of each row and the slope of each of its pixels.

    Errors of -1 stand for ignored pixels. They come last, where no foreground is left to miss, so
    the slope of a background pixel is 0 for them by itself.
    """
    ranked, order = errors.sort(1, descending=True)
    hit = foreground.gather(1, order)
    # float32 holds counts up to 2^24 exactly
    real = errors.dtype if errors.shape[1] < 1 << 24 else torch.float64
    found = hit.cumsum(1, dtype=torch.int32)
    size = found[:, -1:].to(real)
    rank = torch.arange(1, errors.shape[1] + 1, device=errors.device)
    union = size + (rank - found).to(real)
    slopes = torch.where(hit, 1, (size - found.to(real)) / (union - 1).clamp(min=1)) / union
    slopes = torch.where(size > 0, slopes, (rank == 1).to(real)).to(errors.dtype)
    values = (ranked * slopes).sum(1)
    return values, torch.empty_like(slopes).scatter_(1, order, slopes)


def _use_numpy(probs: Tensor) -> bool:
    """NumPy's vectorised integer sort is about ten times faster on a CPU than torch.sort."""
    return (
        probs.device.type == 'cpu'
        and probs.dtype == torch.float32
        and sys.byteorder == 'little'
        and not is_compiling()
    )


def _numpy_rows(probs, labels, valid, shares) -> tuple[Tensor, Tensor]:
    """What `_torch_rows` gives, for float32 on a CPU: row by row, on torch's number of threads."""
    groups, num_classes = shares.shape
    p = probs.flatten(2).unflatten(0, (groups, -1)).numpy()  # group, image, class, pixel
    grad = torch.zeros_like(probs, memory_format=torch.contiguous_format)
    slopes = grad.flatten(2).unflatten(0, (groups, -1)).numpy()
    ignored = ~valid.reshape(groups, -1).numpy()
    members = [_pixels_by_class(row, num_classes) for row in labels.reshape(groups, -1).numpy()]
    share = shares.numpy()

    def run(row: tuple[int, int]) -> float:
        group, c = row
        errors = p[group, :, c].flatten()
        errors[ignored[group]] = -1
        value, slope = _lovasz_row(errors, members[group][c])
        np.multiply(slope, share[row], out=slope)
        slopes[group, :, c] = slope.reshape(slopes[group, :, c].shape)
        return value * float(share[row])

    rows = [tuple(row) for row in np.argwhere(share > 0)]
    if torch.get_num_threads() == 1:
        values = [run(row) for row in rows]
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # sorting releases the GIL
            values = list(pool.map(run, rows))
    return probs.new_tensor(sum(values)), grad


def _pixels_by_class(labels: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """For each class the indices of its pixels."""
    small = labels.astype(np.int16 if num_classes < 1 << 15 else np.int64)
    order = np.argsort(small, kind='stable')  # a radix sort for 16 bits
    ends = np.cumsum(np.bincount(small, minlength=num_classes + 1))
    return np.split(order, ends[:num_classes])


def _lovasz_row(errors: np.ndarray, members: np.ndarray) -> tuple[float, np.ndarray]:
    """Lovász extension of one class and its derivative with respect to the probabilities.

    ``errors`` holds the probabilities, -1 where ignored, and is overwritten. A background pixel
    whose error is below that of every foreground pixel has slope 0: it is not sorted at all.
    """
    slope = np.zeros_like(errors)
    if not len(members):
        worst = errors.argmax()
        slope[worst] = 1
        return float(errors[worst]), slope
    missed = 1 - errors[members]
    errors[members] = -1
    others = np.flatnonzero(errors >= missed.min())
    # One 64-bit key a pixel, in the order of falling errors: the error's inverted bits above, below
    # them a bit that says foreground and the pixel's index.
    keys = np.empty(len(members) + len(others), np.uint64)
    halves = keys.view(np.uint32).reshape(-1, 2)
    halves[: len(members), 0] = members.astype(np.uint32) | np.uint32(1 << 31)
    halves[: len(members), 1] = ~missed.view(np.uint32)
    halves[len(members) :, 0] = others
    halves[len(members) :, 1] = ~errors[others].view(np.uint32)
    keys.sort()

    ranked = (~halves[:, 1]).view(np.float32)
    hit = (halves[:, 0] >> 31).astype(np.int32)
    order = (halves[:, 0] & np.uint32((1 << 31) - 1)).astype(np.intp)
    real = np.float32 if len(errors) < 1 << 24 else np.float64  # exact for counts up to 2^24
    found = np.cumsum(hit, dtype=np.int32)
    left = (len(members) - found).astype(real)
    union = (np.arange(len(members) + 1, len(members) + len(keys) + 1) - found).astype(real)
    slopes = np.where(hit, -1, left / np.maximum(union - 1, 1)) / union
    value = float((ranked * np.abs(slopes)).sum())
    slope[order] = slopes
    return value, slope
