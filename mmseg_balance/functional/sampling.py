"""Which image comes next: orders that can be entered anywhere, and class probabilities."""

import math

import numpy as np
import torch
from torch import Tensor

ROUNDS = 6


def shuffled(positions: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
    r"""Look up positions of a random order of ``size`` things, without making that order.

    A Feistel network over :math:`\mathbb{Z}_a^2`, :math:`a = \lceil\sqrt{size}\rceil`,

    .. math:: (l, r) \mapsto (r, (l + F_k(r)) \bmod a),

    is a permutation whatever :math:`F` is; results of ``size`` and above are sent through again
    until they fall below (cycle walking), which leaves a permutation of ``range(size)``.

    Convention: time and memory depend on the number of positions asked for, not on ``size``.

    Args:
        positions: integers in ``[0, size)``, any shape.
        size: how many things the order has.
        key: integers that name the order; another key, another order.

    Returns:
        int64, the shape of ``positions``.

    >>> shuffled(np.arange(5), 5, key=(0,)).tolist()
    [3, 1, 2, 0, 4]

    Reference: Black, Rogaway, *Ciphers with arbitrary finite domains*, CT-RSA 2002, section 4.
    """
    side = np.uint64(math.isqrt(size - 1) + 1 if size > 1 else 1)
    keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)
    result = np.array(positions, dtype=np.uint64).ravel()
    todo = np.arange(len(result))
    while len(todo):
        left, right = np.divmod(result[todo], side)
        for round_key in keys:
            left, right = right, (left + _mix(right + round_key) % side) % side
        result[todo] = left * side + right
        todo = todo[result[todo] >= size]
    return result.astype(np.int64).reshape(np.shape(positions))


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit integers (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def performance_probabilities(iou: np.ndarray, available: np.ndarray) -> np.ndarray:
    r"""Probability of each class to be drawn, the worse its IoU the higher.

    .. math:: P(c) = \frac{1 - \mathrm{IoU}_c}{\sum_k (1 - \mathrm{IoU}_k)}

    Convention:
        - a class that no image has is never drawn;
        - a class not measured yet (nan) is taken to be as good as the mean of the measured ones,
          or 0 if none is;
        - all perfect: every available class alike.

    Args:
        iou: (C,) in [0, 1] or nan.
        available: (C,) bool, whether some image has the class.

    >>> performance_probabilities(np.array([.9, .5, np.nan, .2]), np.array([1, 1, 0, 1], bool))
    array([0.07142857, 0.35714286, 0.        , 0.57142857])

    Reference: Rota Bulo et al., *Loss max-pooling for semantic image segmentation*, CVPR 2017,
    section 4, "complementary sampling strategy".
    """
    iou = np.asarray(iou, dtype=np.float64)
    measured = ~np.isnan(iou) & available
    typical = iou[measured].mean() if measured.any() else 0.0
    need = np.where(available, 1 - np.where(measured, iou, typical), 0.0)
    if not need.sum() > 0:
        need = available.astype(np.float64)
    return need / need.sum()


def rare_class_probabilities(frequency: np.ndarray, temperature: float) -> np.ndarray:
    r"""Probability of each class to be drawn, the rarer the higher.

    .. math:: P(c) = \frac{e^{(1 - f_c)/T}}{\sum_k e^{(1 - f_k)/T}}

    Args:
        frequency: (C,) share of each class among all pixels, in [0, 1].
        temperature: T > 0; towards 0 only the rarest is drawn, towards infinity all alike.

    >>> rare_class_probabilities(np.array([.9, .1]), temperature=.5).round(3)
    array([0.168, 0.832])

    Reference: Hoyer et al., *DAFormer*, CVPR 2022, section 3.3 (rare class sampling).
    """
    scores = (1 - np.asarray(frequency, dtype=np.float64)) / temperature
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def add_to_confusion(confusion: Tensor, pred: Tensor, labels: Tensor) -> None:
    """Add pixels to a confusion matrix in place, without waiting for the device.

    Convention: a label outside ``[0, C)``, as ignored ones are, is not counted. (The metrics'
    confusion matrix checks labels instead, for which it has to look at them on the host.)

    Args:
        confusion: (C, C) int64, rows are labels, columns predictions.
        pred: predicted classes.
        labels: true classes, the shape of ``pred``.

    >>> total = torch.zeros(2, 2, dtype=torch.int64)
    >>> add_to_confusion(total, torch.tensor([0, 1, 1]), torch.tensor([0, 0, 255]))
    >>> total.tolist()
    [[1, 1], [0, 0]]
    """
    num_classes = len(confusion)
    labels = labels.reshape(-1).long()
    counted = (labels >= 0) & (labels < num_classes)
    pairs = torch.where(counted, labels * num_classes + pred.reshape(-1), 0)
    confusion.view(-1).scatter_add_(0, pairs, counted.to(confusion.dtype))
