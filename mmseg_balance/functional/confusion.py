"""Confusion matrix to scores: accuracy, recall, F1, IoU, kappa, and head, body and tail classes."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mmseg_balance.functional.labels import check_label_range, check_pair, class_indices


def confusion_matrix(
    pred: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Count every (label, prediction) pair of classes.

    Convention:
        - rows are labels, columns are predictions;
        - a pixel whose label is ``ignore_index`` is not counted, whatever is predicted there;
        - int64, so that the sum over a data set is exact.

    Args:
        pred: Predicted class of each pixel, integers, any shape.
        labels: True class of each pixel, the shape of ``pred``.
        num_classes: C.
        ignore_index: Label of the pixels to leave out.

    Returns:
        ``(C, C)`` int64, on the device of ``labels``.

    Raises:
        ValueError: if the shapes differ, or a class is outside ``[0, C)``.

    Example:
        >>> confusion_matrix(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 255]), 2)
        tensor([[1, 1],
                [0, 1]])
    """
    check_pair(pred, labels)
    labels, pred = class_indices(labels).flatten(), class_indices(pred, 'pred').flatten()
    valid = labels != ignore_index
    labels = labels[valid]
    pred = pred[valid]
    check_label_range(labels, num_classes, ignore_index, on_gpu=True)
    check_label_range(pred, num_classes, None, 'pred', on_gpu=True)
    pairs = torch.bincount(labels * num_classes + pred, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def confusion_scores(confusion: Tensor | np.ndarray) -> dict:
    r"""Scores per class and over all classes from a confusion matrix.

    .. math::
        \mathrm{recall}_c = \frac{n_{cc}}{\sum_j n_{cj}},\;
        \mathrm{IoU}_c = \frac{n_{cc}}{\sum_j n_{cj} + \sum_j n_{jc} - n_{cc}},\;
        F_{1,c} = \frac{2\,\mathrm{prec}_c\,\mathrm{recall}_c}{\mathrm{prec}_c+\mathrm{recall}_c},\;
        \kappa = \frac{p_o - p_e}{1 - p_e}

    Convention:
        - a class without a labelled pixel has recall and F1 nan and is left out of their means;
        - IoU is nan, and left out of the mean, only when the class is not predicted either, as in
          MMSegmentation's ``IoUMetric``;
        - a labelled class none of whose pixels is found is *ignored*: its F1 is 0/0 = nan, and so
          is ``mF1``, as in Taubert's Table 1; ``ignored`` says how many such classes there are;
        - FWIoU weighs IoU with the share of labelled pixels;
        - no pixel at all gives nan everywhere; all arithmetic is float64.

    Args:
        confusion: ``(C, C)`` counts, rows are labels and columns predictions.

    Returns:
        Floats ``acc, mRecall, mPrecision, mF1, mIoU, FWIoU, kappa``, the integer ``ignored``, and
        float64 arrays ``recall, precision, F1, IoU`` of shape ``(C,)``.

    Example:
        >>> scores = confusion_scores(torch.tensor([[6, 2], [1, 1]]))
        >>> scores['acc'], scores['mRecall'], round(scores['mIoU'], 4)
        (0.7, 0.625, 0.4583)
        >>> confusion_scores(torch.tensor([[9, 0], [1, 0]]))['mF1']
        nan

    Reference:
        Taubert et al., "Loss Scheduling for Class-Imbalanced Image Segmentation Problems", 2020,
        section 5.1 and Table 1.
    """
    matrix = np.asarray(confusion, dtype=np.float64)
    hit, label, pred = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    total = matrix.sum()
    present = label > 0
    recall = ratio(hit, label)
    precision = ratio(hit, pred)
    f1 = np.where(present & (hit > 0), ratio(2 * hit, label + pred), np.nan)
    iou = ratio(hit, label + pred - hit)
    acc = float(ratio(hit.sum(), total))
    chance = float(ratio((label * pred).sum(), total**2))
    return {
        'acc': acc,
        'mRecall': mean_over(recall, present),
        'mPrecision': mean_over(precision, pred > 0),
        'mF1': mean_over(f1, present),
        'mIoU': mean_over(iou),
        'FWIoU': float(ratio((label[present] * iou[present]).sum(), total)),
        'kappa': float(ratio(acc - chance, 1 - chance)),
        'ignored': int((present & (hit == 0)).sum()),
        'recall': recall,
        'precision': precision,
        'F1': f1,
        'IoU': iou,
    }


def frequency_groups(pixels: Sequence[int] | np.ndarray) -> dict[str, list[int]]:
    """Split the classes into head, body and tail: thirds by pixel count.

    Convention: a class without a pixel is in no group, and a group without a class is left out;
    when the number of classes is not a multiple of three, the head is one class larger, then the
    tail, so that two classes are head and tail; of equal classes the lower index comes first.

    Args:
        pixels: ``(C,)`` pixels per class.

    Returns:
        Class indices, most frequent first, under ``head``, ``body`` and ``tail``.

    Example:
        >>> frequency_groups([5, 900, 70, 0, 80])
        {'head': [1, 4], 'body': [2], 'tail': [0]}
    """
    pixels = np.asarray(pixels)
    order = np.argsort(-pixels, kind='stable')
    order = order[pixels[order] > 0]
    head, tail = -(-len(order) // 3), (len(order) + 1) // 3
    thirds = np.split(order, [head, len(order) - tail])
    return {
        name: part.tolist()
        for name, part in zip(('head', 'body', 'tail'), thirds, strict=True)
        if len(part)
    }


def group_means(values: np.ndarray, groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Mean of a score over each group of classes, classes with nan left out.

    Example:
        >>> group_means(np.array([.5, np.nan, .25]), {'head': [0, 1], 'tail': [2]})
        {'head': 0.5, 'tail': 0.25}
    """
    values = np.asarray(values)
    return {name: mean_over(values[list(group)]) for name, group in groups.items()}


def mean_over(values: np.ndarray, chosen: np.ndarray | None = None) -> float:
    """Mean of the chosen values, by default of all but nan; nan if none is or one of them is nan."""
    chosen = ~np.isnan(values) if chosen is None else chosen
    return float(values[chosen].mean()) if chosen.any() else float('nan')


def ratio(numerator, denominator) -> np.ndarray:
    """Quotient; nan where the denominator is not positive."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.where(denominator > 0, np.divide(numerator, denominator), np.nan)
