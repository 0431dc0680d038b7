"""Boundary IoU, and the clDice of masks and their skeletons."""

import math

import numpy as np
import torch
from torch import Tensor

from mmseg_balance.functional.confusion import ratio
from mmseg_balance.functional.labels import check_label_range, check_pair, class_indices


def boundary_pixels(labels: Tensor, distance: int, ignore_index: int = 255) -> Tensor:
    r"""Where a pixel's class ends within a distance.

    .. math:: B_d = \{x : \exists\, x',\ \|x - x'\|_\infty \le d,\ y_{x'} \ne y_x\}

    Convention:
        - beyond the border of the image there is no class: pixels within d of it are boundary, as
          in the authors' code.
        - ignored pixel: never boundary, and it makes none: its neighbours are compared with
          labelled pixels alone.

    Args:
        labels: ``(H, W)`` classes of the pixels, integers of at least 0, or ``ignore_index``.
        distance: d in pixels, at least 1.
        ignore_index: the label of pixels that do not count.

    Returns:
        ``(H, W)`` bool.

    Raises:
        ValueError: a distance below 1.

    Example:
        >>> boundary_pixels(torch.tensor([[0] * 3 + [1] * 5]).repeat(3, 1), distance=1).int()
        tensor([[1, 1, 1, 1, 1, 1, 1, 1],
                [1, 0, 1, 1, 0, 0, 0, 1],
                [1, 1, 1, 1, 1, 1, 1, 1]], dtype=torch.int32)

    Reference:
        Cheng et al. 2021, Boundary IoU, section 4.
    """
    if distance < 1:
        raise ValueError(f'distance={distance} must be at least 1, in pixels.')
    labels = class_indices(labels)
    valid = labels != ignore_index
    largest = int(labels[valid].max()) + 1 if valid.any() else 0
    # Where the least and the largest class of the window agree there is one class in it.
    least = _slide(torch.where(valid, labels, largest), distance, torch.minimum, largest)
    most = _slide(torch.where(valid, labels, -1), distance, torch.maximum, -1)
    boundary = least != most
    for side in (boundary, boundary.T):
        side[:distance] = True
        side[-distance:] = True
    return boundary & valid


def boundary_sums(
    pred: Tensor, labels: Tensor, num_classes: int, ratio: float = 0.02, ignore_index: int = 255
) -> Tensor:
    """Boundary pixels of each class in prediction and label: both, predicted, labelled.

    Convention:
        - distance: ``ratio`` of the image's diagonal, rounded, at least 1 pixel.
        - ignored pixel: predicted nothing there; see :func:`boundary_pixels`.

    Args:
        pred: ``(H, W)`` predicted class of each pixel.
        labels: ``(H, W)`` classes, or ``ignore_index``.
        num_classes: number of classes C.
        ratio: width of the boundary as a share of the diagonal.
        ignore_index: the label of pixels that do not count.

    Returns:
        ``(3, C)`` int64.

    Raises:
        ValueError: shapes that differ, or a class out of range.

    Example:
        >>> labels = torch.tensor([[0, 0, 1, 1]])
        >>> boundary_sums(torch.tensor([[0, 1, 1, 1]]), labels, 2)
        tensor([[1, 2],
                [1, 3],
                [2, 2]])

    Reference:
        Cheng et al. 2021, Boundary IoU, equation 1.
    """
    check_pair(pred, labels)
    pred, labels = class_indices(pred, 'pred'), class_indices(labels)
    valid = labels != ignore_index
    check_label_range(labels, num_classes, ignore_index, on_gpu=True)
    check_label_range(pred[valid], num_classes, None, 'pred', on_gpu=True)
    pred, labels = (torch.where(valid, part, -1) for part in (pred, labels))  # -1: never a class
    distance = max(1, round(ratio * math.hypot(*labels.shape)))
    of_pred, of_label = (boundary_pixels(part, distance, -1) for part in (pred, labels))
    both = of_pred & of_label & (pred == labels)
    counted = (pred[both], pred[of_pred], labels[of_label])
    return torch.stack([torch.bincount(c, minlength=num_classes) for c in counted])


def boundary_iou(sums: np.ndarray) -> np.ndarray:
    r"""Boundary IoU of each class from the sums of :func:`boundary_sums`.

    .. math:: \frac{|B_d(G) \cap B_d(P)|}{|B_d(G) \cup B_d(P)|}

    with the boundary regions of label G and prediction P, inside each.

    Args:
        sums: ``(3, C)``, of one image or added over a data set.

    Returns:
        ``(C,)``, nan for a class without boundary in prediction and label.

    Example:
        >>> boundary_iou(np.array([[1, 2, 0], [1, 3, 0], [2, 2, 0]])).round(4)
        array([0.5   , 0.6667,    nan])
    """
    both, predicted, labelled = np.asarray(sums, np.float64)
    return ratio(both, predicted + labelled - both)


def centerline_counts(
    pred: np.ndarray, labels: np.ndarray, pred_lines: np.ndarray, label_lines: np.ndarray
) -> np.ndarray:
    """What clDice is made of: predicted lines on the label, predicted lines, and the reverse.

    Args:
        pred, labels: ``(H, W)`` bool, the predicted and the labelled region of a class.
        pred_lines, label_lines: ``(H, W)`` bool, their skeletons.

    Returns:
        ``(4,)`` int64.

    Example:
        >>> region, lines = np.array([[1, 1, 1]], bool), np.array([[0, 1, 0]], bool)
        >>> centerline_counts(region, region, lines, lines)
        array([1, 1, 1, 1])
    """
    parts = pred_lines & labels, pred_lines, label_lines & pred, label_lines
    return np.array([np.count_nonzero(part) for part in parts], dtype=np.int64)


def centerline_dice(counts: np.ndarray) -> np.ndarray:
    r"""clDice from the counts of :func:`centerline_counts`.

    .. math:: \frac{2\, R S}{R + S}, \qquad R = \frac{|S_P \cap G|}{|S_P|}, \quad
              S = \frac{|S_G \cap P|}{|S_G|}

    Convention:
        - a class without lines in prediction and label: nan; in one of them: 0.

    Args:
        counts: ``(4, K)``, of one image or added over a data set.

    Returns:
        ``(K,)``.

    Example:
        >>> centerline_dice(np.array([[3, 0, 0], [4, 0, 0], [1, 0, 0], [2, 5, 0]]))
        array([0.6, 0. , nan])

    Reference:
        Shit et al. 2021, clDice, equations 1 to 3.
    """
    precise, predicted, found, labelled = np.asarray(counts, np.float64)
    precision, sensitivity = (
        np.nan_to_num(ratio(*pair)) for pair in ((precise, predicted), (found, labelled))
    )
    dice = np.nan_to_num(ratio(2 * precision * sensitivity, precision + sensitivity))
    return np.where(predicted + labelled > 0, dice, np.nan)


def _slide(values: Tensor, radius: int, take, beyond: int) -> Tensor:
    """The least or largest value in the square window around each pixel.

    Windows of 1, 2, 4, … pixels are made from each other: a few passes however large the radius.
    """
    for axis in (0, 1):
        size = values.shape[axis]
        edge = values.new_full(
            (radius, *values.shape[1:]) if axis == 0 else (values.shape[0], radius), beyond
        )
        values, width = torch.cat([edge, values, edge], axis), 1
        while 2 * width <= 2 * radius + 1:
            length = values.shape[axis] - width
            values = take(values.narrow(axis, 0, length), values.narrow(axis, width, length))
            width *= 2
        rest = 2 * radius + 1 - width
        values = take(values.narrow(axis, 0, size), values.narrow(axis, rest, size))
    return values
