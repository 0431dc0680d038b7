"""Logits and labels to sums per confidence bin, of which calibration scores are formulas.

The sums are small (classes x bins) and additive: over the pixels of an image, the images of a data
set and the ranks of a job. They are integers, confidences being counted in units of 2^-24, so that
adding is exact in any order and a job on many ranks reports what a single process reports.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmseg_balance.functional.confusion import check_classes

UNIT = 2.0**-24
# Elements of logits worked on at once: small enough for a CPU's cache, large enough for a GPU.
CHUNK_ELEMENTS = {'cpu': 2**18, 'cuda': 2**24}


@dataclass
class CalibrationSums:
    """Sums over pixels from which every calibration score follows; ``a + b`` pools two sets.

    ``confidence``, ``top_confidence``, ``nll`` and ``squared_error`` are in units of 2^-24.

    Attributes:
        count: ``(C, N)`` (pixel, class) pairs whose probability lies in the bin.
        positive: ``(C, N)`` those among them whose class is the label.
        confidence: ``(C, N)`` the sum of their probabilities.
        top_count, top_correct, top_confidence: ``(N,)`` the same of the most probable class alone.
        nll: Sum over pixels of -log of the label's probability.
        squared_error: Sum over pixels and classes of (probability - one-hot label)^2.
        pixels: Pixels counted. not_finite: Pixels left out for a nan or infinite logit.
    """

    count: np.ndarray
    positive: np.ndarray
    confidence: np.ndarray
    top_count: np.ndarray
    top_correct: np.ndarray
    top_confidence: np.ndarray
    nll: int = 0
    squared_error: int = 0
    pixels: int = 0
    not_finite: int = 0

    @classmethod
    def zeros(cls, num_classes: int, num_bins: int) -> CalibrationSums:
        """Sums over no pixel."""
        per_class = (np.zeros((num_classes, num_bins), np.int64) for _ in range(3))
        return cls(*per_class, *(np.zeros(num_bins, np.int64) for _ in range(3)))

    def __add__(self, other: CalibrationSums) -> CalibrationSums:
        names = [field.name for field in dataclasses.fields(self)]
        return CalibrationSums(*(getattr(self, name) + getattr(other, name) for name in names))


def calibration_sums(
    logits: Tensor,
    labels: Tensor,
    num_bins: int = 10,
    ignore_index: int = 255,
    probabilities: bool = False,
) -> CalibrationSums:
    """Sort the probability of every (pixel, class) pair into N equal bins and add up each bin.

    Convention:
        - bin i holds ``i/N <= p < (i+1)/N``; the last bin holds ``p = 1`` too;
        - C = 1 is a sigmoid head, counted as two classes with logits ``(0, z)``;
        - ignored pixels are left out, whatever their logits;
        - pixels with a nan or infinite logit are left out and counted in ``not_finite`` (a logit
          of minus infinity, a probability of 0, is fine);
        - softmax in float32, or in float64 for float64 logits; sums exact from there on;
        - extra memory: a few chunks of 2^18 elements (2^24 on a GPU), not a tensor of logits' size.

    Args:
        logits: ``(N, C, H, W)``, any floating dtype; probabilities if ``probabilities``.
        labels: ``(N, H, W)`` integers in ``[0, C)`` (``[0, 2)`` if C = 1) or ``ignore_index``.
        num_bins: N.
        ignore_index: Label of the pixels to leave out.
        probabilities: Whether ``logits`` have been through softmax or sigmoid already.

    Raises:
        ValueError: if the shapes don't match, a label is out of range, or ``num_bins`` < 1.

    Example:
        >>> sums = calibration_sums(torch.tensor([[[[9., 0.]], [[0., 0.]]]]),
        ...                         torch.tensor([[[0, 1]]]), num_bins=2)
        >>> sums.count
        array([[0, 2], [1, 1]])
        >>> sums.positive
        array([[0, 1], [0, 1]])
    """
    if num_bins < 1:
        raise ValueError(f'num_bins is {num_bins}; it must be at least 1, 10 in the paper.')
    if logits.dim() != 4 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f'logits have shape {tuple(logits.shape)} and labels {tuple(labels.shape)}; expected '
            '(N, C, H, W) and (N, H, W).'
        )
    num_classes = max(logits.shape[1], 2)
    total = CalibrationSums.zeros(num_classes, num_bins)
    limit = CHUNK_ELEMENTS.get(logits.device.type, CHUNK_ELEMENTS['cuda'])
    step = max(limit // num_classes, 1)
    for image, label in zip(logits.flatten(2), labels.flatten(1), strict=True):
        for scores, classes in zip(image.split(step, 1), label.split(step), strict=True):
            valid = classes != ignore_index
            if not valid.all():
                scores, classes = scores[:, valid], classes[valid]
            check_classes(classes, num_classes, 'labels', ignore_index)
            total = total + _chunk_sums(scores, classes.long(), num_bins, probabilities)
    return total


def _chunk_sums(scores: Tensor, labels: Tensor, num_bins: int, given: bool) -> CalibrationSums:
    """Sums over some pixels; ``scores (C, P)``, ``labels (P,)``, none ignored."""
    scores = scores if scores.dtype == torch.float64 else scores.float()
    prob, nll = (_from_probabilities if given else _from_logits)(scores, labels)
    top = prob.amax(0)  # nan if any of them is
    finite = top.isfinite()
    not_finite = int(labels.numel() - finite.sum())
    if not_finite:
        prob, top, nll, labels = prob[:, finite], top[finite], nll[finite], labels[finite]
    own = prob.gather(0, labels[None])[0]
    squared = torch.linalg.vector_norm(prob).double().square() - 2 * own.sum(dtype=torch.float64)
    top_bin = _bin_of(top, num_bins)
    correct = _label_is_first(prob, top, own, labels)
    own_bin = labels * num_bins + _bin_of(own, num_bins)
    positive = torch.bincount(own_bin, minlength=len(prob) * num_bins)
    count, confidence = _bins(prob, num_bins)
    return CalibrationSums(
        count=count.cpu().numpy(),
        positive=positive.reshape(-1, num_bins).cpu().numpy(),
        confidence=_fixed(confidence).cpu().numpy(),
        top_count=torch.bincount(top_bin, minlength=num_bins).cpu().numpy(),
        top_correct=torch.bincount(top_bin[correct], minlength=num_bins).cpu().numpy(),
        top_confidence=_fixed(
            torch.bincount(top_bin, weights=top.double(), minlength=num_bins)
        ).cpu().numpy(),
        nll=int(_fixed(nll.sum(dtype=torch.float64))),
        squared_error=int(_fixed(squared + labels.numel())),
        pixels=labels.numel(),
        not_finite=not_finite,
    )


def _fixed(total: Tensor) -> Tensor:
    return (total / UNIT).round().long()


def _from_logits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if len(logits) == 1:
        logits = torch.cat([torch.zeros_like(logits), logits])
    shifted = logits - logits.amax(0)
    own = shifted.gather(0, labels[None])[0]
    prob = shifted.exp_()
    total = prob.sum(0)
    # A label of probability 0 would make every later sum infinite.
    nll = (total.log() - own).clamp(max=2.0**20)
    return prob.div_(total), nll


def _from_probabilities(prob: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    info = torch.finfo(prob.dtype)
    if len(prob) == 1:
        prob = torch.cat([1 - prob, prob])
        # 1 - p cannot tell apart what lies below eps; p itself can.
        floor = prob.new_tensor([info.eps / 2, info.tiny])[labels]
    else:
        prob, floor = prob.clone(), info.tiny
    return prob, -prob.gather(0, labels[None])[0].clamp(min=floor).log()


def _label_is_first(prob: Tensor, top: Tensor, own: Tensor, labels: Tensor) -> Tensor:
    """Whether argmax, which takes the first of equals, is the label; far cheaper than argmax."""
    correct = own == top
    if _number_of(prob == top) == len(labels):  # a largest one each: no ties
        return correct
    doubtful = (correct & (top < 0.51)).nonzero()[:, 0]
    rivals = (prob[:, doubtful] == top[doubtful]).sum(0)
    tied = doubtful[rivals > 1]
    correct[tied] = prob[:, tied].argmax(0) == labels[tied]
    return correct


def _bin_of(prob: Tensor, num_bins: int) -> Tensor:
    return (prob * num_bins).long().clamp_(max=num_bins - 1)


def _bins(prob: Tensor, num_bins: int) -> tuple[Tensor, Tensor]:
    """Count and sum of ``prob (C, P)`` per row and bin: ``(C, N)`` int64 and float64.

    Most of the C classes of a pixel are improbable and end in bin 0, which is had cheaply as the
    whole less the other bins; only the others are sorted one by one.
    """
    num_classes, num_pixels = prob.shape
    high = prob >= 1 / num_bins
    per_class = high.sum(1)
    values = prob.flatten().index_select(0, _positions(high))
    index = torch.arange(num_classes, device=prob.device).repeat_interleave(per_class) * num_bins
    index += _bin_of(values, num_bins)
    size = num_classes * num_bins
    count = torch.bincount(index, minlength=size).reshape(num_classes, num_bins)
    # bincount of no value at all is int64, weights or not.
    total = torch.bincount(index, weights=values.double(), minlength=size).double()
    total = total.reshape(num_classes, num_bins)
    count[:, 0] += num_pixels - per_class
    # In float64 the difference is exact to 1e-16 of a pixel count; in float32 it would be noise.
    total[:, 0] += prob.sum(1, dtype=torch.float64) - total.sum(1)
    return count, total


def _number_of(mask: Tensor) -> int:
    """How many elements are true; on a CPU NumPy counts them five times as fast as torch."""
    if mask.device.type == 'cpu':
        return int(np.count_nonzero(mask.numpy()))
    return int(mask.count_nonzero())


def _positions(mask: Tensor) -> Tensor:
    """Flat indices of the true elements; on a CPU NumPy finds them three times as fast as torch."""
    if mask.device.type == 'cpu':
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.flatten().nonzero()[:, 0]
