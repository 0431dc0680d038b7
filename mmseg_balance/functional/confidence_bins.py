"""Logits and labels to sums per confidence bin, of which calibration scores are formulas.

The sums are small (classes x bins) and additive: over the pixels of an image, the images of a data
set and the ranks of a job. They are integers, confidences being counted in units of 2^-24, so that
adding is exact in any order and a job on many ranks reports what a single process reports.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmseg_balance.functional.exponential import exp_
from mmseg_balance.functional.labels import check_label_range, class_indices
from mmseg_balance.functional.logits import as_multiclass, widen

UNIT = 2.0**-24
# Elements of logits worked on at once: small enough for a CPU's cache, large enough for a GPU.
CHUNK_ELEMENTS = {'cpu': 2**19, 'cuda': 2**24}


@dataclass
class CalibrationSums:
    """Sums over pixels from which every calibration score follows; ``a + b`` pools two sets.

    ``confidence``, ``top_confidence``, ``nll`` and ``squared_error`` are in units of 2^-24.

    Attributes:
        count: ``(C, N)`` (pixel, class) pairs whose probability lies in the bin.
        positive: ``(C, N)`` those among them whose class is the label.
        confidence: ``(C, N)`` the sum of their probabilities.
        top_count, top_correct, top_confidence: ``(N,)`` the same of the most probable class alone.
        hits: ``(C,)`` pixels of each class whose prediction is right.
        nll: Sum over pixels of -log of the label's probability.
        squared_error: Sum over pixels and classes of (probability - one-hot label)^2.
        pixels: Pixels counted. not_finite: Pixels left out for a nan or infinite logit.
        not_top: Pixels for which a more probable class than the predicted one was there.
    """

    count: np.ndarray
    positive: np.ndarray
    confidence: np.ndarray
    top_count: np.ndarray
    top_correct: np.ndarray
    top_confidence: np.ndarray
    hits: np.ndarray
    nll: int = 0
    squared_error: int = 0
    pixels: int = 0
    not_finite: int = 0
    not_top: int = 0

    @classmethod
    def zeros(cls, num_classes: int, num_bins: int) -> CalibrationSums:
        """Sums over no pixel."""
        per_class = (np.zeros((num_classes, num_bins), np.int64) for _ in range(3))
        per_bin = (np.zeros(num_bins, np.int64) for _ in range(3))
        return cls(*per_class, *per_bin, np.zeros(num_classes, np.int64))

    def __add__(self, other: CalibrationSums) -> CalibrationSums:
        total = {name: part + getattr(other, name) for name, part in vars(self).items()}
        return CalibrationSums(**total)


def calibration_sums(
    logits: Tensor,
    labels: Tensor,
    num_bins: int = 10,
    ignore_index: int = 255,
    probabilities: bool = False,
    prediction: Tensor | None = None,
) -> CalibrationSums:
    """Sort the probability of every (pixel, class) pair into N equal bins and add up each bin.

    Convention:
        - bin i holds ``i/N <= p < (i+1)/N``; the last bin holds ``p = 1`` too;
        - C = 1 is a sigmoid head, counted as two classes with logits ``(0, z)``;
        - ignored pixels are left out, whatever their logits;
        - pixels with a nan or infinite logit are left out and counted in ``not_finite`` (a logit
          of minus infinity, a probability of 0, is fine);
        - a label of probability 0 adds a finite number to ``nll``: 2^20 at most from logits, and 87
          (708 in float64) from probabilities, minus the logarithm of the least normal number;
        - softmax in float32, or in float64 for float64 logits; sums in float64, and in a chunk's
          bin 0 in the softmax's type; rounded to 2^-24 once per chunk, exact from there on;
        - extra memory: a few chunks of 2^19 elements (2^24 on a GPU), not a tensor of logits' size.

    Args:
        logits: ``(N, C, H, W)``, any floating dtype; probabilities if ``probabilities``.
        labels: ``(N, H, W)`` integers in ``[0, C)`` (``[0, 2)`` if C = 1) or ``ignore_index``.
        num_bins: N.
        ignore_index: Label of the pixels to leave out.
        probabilities: Whether ``logits`` have been through softmax or sigmoid already.
        prediction: ``(N, H, W)`` integers, the class that the model put out, if that need not be
            the most probable one (the first of equals).

    Raises:
        ValueError: if the shapes don't match, a label is out of range, ``num_bins`` < 1, or
            ``probabilities`` are not in [0, 1].

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
    maps = [labels] if prediction is None else [labels, prediction]
    if logits.dim() != 4 or any(m.shape != logits.shape[:1] + logits.shape[2:] for m in maps):
        raise ValueError(
            f'logits have shape {tuple(logits.shape)} and labels (then prediction) '
            f'{", ".join(str(tuple(m.shape)) for m in maps)}; expected (N, C, H, W) and (N, H, W).'
        )
    num_classes = max(logits.shape[1], 2)
    total = CalibrationSums.zeros(num_classes, num_bins)
    limit = CHUNK_ELEMENTS.get(logits.device.type, CHUNK_ELEMENTS['cuda'])
    step = max(limit // num_classes, 1)
    for image, *flat in zip(logits.detach().flatten(2), *(m.flatten(1) for m in maps), strict=True):
        pieces = zip(image.split(step, 1), *(m.split(step) for m in flat), strict=True)
        for scores, classes, *pred in pieces:
            classes = class_indices(classes)
            valid = classes != ignore_index
            if not valid.all():
                kept = valid.nonzero()[:, 0]  # twice as fast as indexing with the mask
                scores, classes = scores.index_select(1, kept), classes[kept]
                pred = [part[kept] for part in pred]
            check_label_range(classes, num_classes, ignore_index, on_gpu=True)
            pred = [class_indices(part, 'prediction') for part in pred]
            total = total + _chunk_sums(scores, num_bins, probabilities, classes, *pred)
    return total


def _chunk_sums(
    scores: Tensor, num_bins: int, given: bool, labels: Tensor, pred: Tensor | None = None
) -> CalibrationSums:
    """Sums over some pixels; ``scores (C, P)``, ``labels`` and ``pred (P,)``, none ignored."""
    prob, top, nll = (_from_probabilities if given else _from_logits)(widen(scores), labels)
    finite = top.isfinite()  # the largest is nan if any of them is
    not_finite = int(labels.numel() - finite.sum())
    if not_finite:
        prob, top, nll, labels = prob[:, finite], top[finite], nll[finite], labels[finite]
        pred = None if pred is None else pred[finite]
    own = prob.gather(0, labels[None])[0]
    squared = (prob * prob).sum().double() - 2 * own.sum(dtype=torch.float64)
    top_bin = _bin_of(top, num_bins)
    correct, hit, not_top = _hits(prob, top, own, labels, pred)
    own_bin = labels * num_bins + _bin_of(own, num_bins)
    num_classes = len(prob)
    positive = _sums(own_bin, num_classes * num_bins).reshape(-1, num_bins)
    count, confidence = _bins(prob, num_bins)
    arrays = dict(
        count=count,
        positive=positive,
        confidence=_fixed(confidence),
        top_count=_sums(top_bin, num_bins),
        top_correct=_sums(top_bin, num_bins, correct).long(),
        top_confidence=_fixed(_sums(top_bin, num_bins, top)),
        hits=_sums(labels, num_classes, hit).long(),
    )
    return CalibrationSums(
        **{name: part.cpu().numpy() for name, part in arrays.items()},
        # Scaled in Python: 2^20 nats of 2^19 pixels, fewer than a GPU's chunk, are 2^63 units.
        nll=round(float(nll.sum(dtype=torch.float64)) / UNIT),
        squared_error=int(_fixed(squared + labels.numel())),
        pixels=labels.numel(),
        not_finite=not_finite,
        not_top=not_top,
    )


def _fixed(total: Tensor) -> Tensor:
    return (total / UNIT).round().long()


def _from_logits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All probabilities ``(C, P)``; the largest, and -log of the label's, of each pixel."""
    logits = as_multiclass(logits, dim=0)
    shifted = logits - logits.amax(0)
    own = shifted.gather(0, labels[None])[0]
    prob = exp_(shifted)
    total = prob.sum(0)
    # A label of probability 0 would make every later sum infinite.
    nll = (total.log() - own).clamp(max=2.0**20)
    # The largest is exp(0) / total, by the same division: it is compared with the others.
    return prob.div_(total), torch.ones_like(total).div_(total), nll


def _from_probabilities(prob: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same of probabilities that are there already."""
    info = torch.finfo(prob.dtype)
    wrong = prob[(prob < 0) | (prob > 1 + 1e-3)]  # sums of rounded ones may be above 1
    if wrong.numel():
        raise ValueError(
            f'logits hold {float(wrong[0]):g} where probabilities=True asks for values in [0, 1]: '
            'give probabilities, or logits with probabilities=False.'
        )
    if len(prob) == 1:
        prob = torch.cat([1 - prob, prob])
        # 1 - p cannot tell apart what lies below eps; p itself can.
        floor = prob.new_tensor([info.eps / 2, info.tiny])[labels]
    else:
        prob, floor = prob.clone(), info.tiny
    return prob, prob.amax(0), -prob.gather(0, labels[None])[0].clamp(min=floor).log()


def _hits(
    prob: Tensor, top: Tensor, own: Tensor, labels: Tensor, pred: Tensor | None
) -> tuple[Tensor, Tensor, int]:
    """Where the label is the most probable class, where it is ``pred``, and how many of ``pred``
    are not a most probable class.
    """
    if pred is None:
        correct = _label_is_first(prob, top, own, labels)
        return correct, correct, 0
    not_top = int((prob.gather(0, pred[None])[0] < top).sum())
    hit = pred == labels
    return (_label_is_first(prob, top, own, labels) if not_top else hit), hit, not_top


def _label_is_first(prob: Tensor, top: Tensor, own: Tensor, labels: Tensor) -> Tensor:
    """Whether argmax, which takes the first of equals, is the label; far cheaper than argmax."""
    correct = own == top
    if _number_of(_compare(operator.eq, prob, top)) == len(labels):  # a largest one each: no ties
        return correct
    doubtful = (correct & (top < 0.51)).nonzero()[:, 0]
    rivals = (prob[:, doubtful] == top[doubtful]).sum(0)
    tied = doubtful[rivals > 1]
    correct[tied] = prob[:, tied].argmax(0) == labels[tied]
    return correct


def _bin_of(prob: Tensor, num_bins: int) -> Tensor:
    return (prob * num_bins).long().clamp_(max=num_bins - 1)


def _bins(prob: Tensor, num_bins: int) -> tuple[Tensor, Tensor]:
    """Count and sum of ``prob (C, P)``, which it may overwrite, per row and bin: ``(C, N)`` each.

    Most of the C classes of a pixel are improbable and end in bin 0, which is computed as the rest;
    only those of the other bins are sorted one by one.
    """
    num_classes, num_pixels = prob.shape
    prob = prob.contiguous()  # is not where the logits are channels-last
    flat = prob.view(-1)
    positions = _positions(_compare(operator.ge, flat, flat.new_tensor(1 / num_bins)))
    values = flat.index_select(0, positions)
    starts = torch.arange(num_classes + 1, device=prob.device) * num_pixels
    per_class = torch.searchsorted(positions, starts).diff()
    index = torch.arange(num_classes, device=prob.device).repeat_interleave(per_class) * num_bins
    index += _bin_of(values, num_bins)
    count = _sums(index, num_classes * num_bins).reshape(num_classes, num_bins)
    total = _sums(index, num_classes * num_bins, values).reshape(num_classes, num_bins)
    count[:, 0] += num_pixels - per_class
    # Not the whole less the other bins: that would lose the digits of a small rest.
    flat.index_fill_(0, positions, 0)
    total[:, 0] += prob.sum(1)
    return count, total


def _sums(index: Tensor, size: int, weights: Tensor | None = None) -> Tensor:
    """How often each index occurs, in int64, or the float64 sum of its weights."""
    if weights is None:
        return torch.bincount(index, minlength=size)
    # bincount of no value at all is int64, weights or not.
    return torch.bincount(index, weights=weights.double(), minlength=size).double()


def _compare(relation: Callable, left: Tensor, right: Tensor) -> Tensor:
    """``relation(left, right)``; on a CPU NumPy compares floats ten times as fast as torch."""
    if left.device.type == 'cpu':
        return torch.from_numpy(relation(left.numpy(), right.numpy()))
    return relation(left, right)


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
