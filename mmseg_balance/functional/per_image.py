"""Scores from the confusion matrix of each image: per data set, per image, per class, worst."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from mmseg_balance.functional.confusion import ratio

WORST_PERCENTS = (10, 5)
PER_IMAGE_SCORES = ('mIoU', 'mIoU_I', 'mIoU_C', 'mIoU_worst10', 'mIoU_worst5', 'mRecall', 'acc')


def image_iou(confusions: Tensor | np.ndarray) -> np.ndarray:
    r"""IoU of each class in each image.

    .. math:: \mathrm{IoU}_{i,c} = \frac{n^i_{cc}}{\sum_j n^i_{cj} + \sum_j n^i_{jc} - n^i_{cc}}

    Convention: nan for a class that is neither in the label nor in the prediction of the image; 0
    for one that is in only one of the two; float64.

    Args:
        confusions: ``(images, C, C)`` counts, rows are labels and columns predictions.

    Returns:
        ``(images, C)`` float64.

    Raises:
        ValueError: not of shape ``(images, C, C)``.

    Example:
        >>> image_iou(np.array([[[6, 2, 0], [1, 1, 0], [0, 0, 0]]])).round(3)
        array([[0.667, 0.25 , nan]])
    """
    hit, label, pred = _margins(confusions)
    return ratio(hit, label + pred - hit)


def per_image_scores(
    confusions: Tensor | np.ndarray, class_groups: Mapping[str, Sequence[int]] | None = None
) -> dict[str, float]:
    r"""Scores over the data set, over images, over classes in images, and of the worst images.

    .. math::
        \mathrm{mIoU}^I_i = \frac{1}{|C_i|}\sum_{c \in C_i} \mathrm{IoU}_{i,c},\quad
        \mathrm{mIoU}^I = \frac{1}{N}\sum_i \mathrm{mIoU}^I_i,\quad
        \mathrm{mIoU}^C = \frac{1}{C}\sum_c \frac{1}{|I_c|}\sum_{i \in I_c} \mathrm{IoU}_{i,c}

    where :math:`C_i` are the classes of image i and :math:`I_c` the images of class c.

    Convention:
        - an image has a class if the class is in its label or in its prediction, as in ``mIoU``
          over the data set. The authors' code (zifuwanggg/JDTLosses, ``miouic_metric.py``) counts a
          class only where it is in the label, and for two classes only the second: published
          values are higher;
        - ``mIoU_worst10`` and ``mIoU_worst5`` are the mean of :math:`\mathrm{mIoU}^I_i` over the
          worst 10 % and 5 % of the images, rounded down, at least one image: the paper's
          :math:`\mathrm{mIoU}^{I^q}`, not its :math:`\mathrm{mIoU}^{C^q}`;
        - ``mIoU``, ``mRecall`` and ``acc`` are those of
          :func:`~mmseg_balance.functional.confusion.confusion_scores` of the sum;
        - an image without a valid pixel is left out; without any image every score is nan;
        - fractions in [0, 1], float64.

    Args:
        confusions: ``(images, C, C)`` counts, rows are labels and columns predictions.
        class_groups: Class indices by name; adds ``mIoU_NAME``, the mean IoU of these classes over
            the data set, nan if none of them is there.

    Returns:
        ``mIoU, mIoU_I, mIoU_C, mIoU_worst10, mIoU_worst5, mRecall, acc`` and the class groups'.

    Raises:
        ValueError: not of shape ``(images, C, C)``.

    Example:
        >>> confusions = np.array([[[6, 2], [1, 1]], [[4, 0], [0, 0]]])
        >>> scores = per_image_scores(confusions)
        >>> {name: round(value, 3) for name, value in scores.items()}
        {'mIoU': 0.51, 'mIoU_I': 0.729, 'mIoU_C': 0.542, 'mIoU_worst10': 0.458,
        'mIoU_worst5': 0.458, 'mRecall': 0.667, 'acc': 0.786}

    Reference:
        Wang et al., "Revisiting Evaluation Metrics for Semantic Segmentation: Optimization and
        Evaluation of Fine-grained Intersection over Union", NeurIPS 2023, section 3.
    """
    images = len(confusions)
    once = np.ones((1, images))
    scores = resampled_scores(confusions, once, np.arange(images), class_groups)
    return {name: float(values[0]) for name, values in scores.items()}


def resampled_scores(
    confusions: Tensor | np.ndarray,
    counts: np.ndarray,
    groups: np.ndarray,
    class_groups: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, np.ndarray]:
    """The scores of :func:`per_image_scores` for many resamples of groups of images.

    The sums of each group are made once, so that a resample costs a few products with the number
    of groups; only the worst images need the images of every resample.

    Args:
        confusions: ``(images, C, C)`` counts, rows are labels and columns predictions.
        counts: ``(resamples, groups)``, how often each group is in each resample.
        groups: ``(images,)`` index of the group of each image, in ``[0, counts.shape[1])``.
        class_groups: See :func:`per_image_scores`.

    Returns:
        ``(resamples,)`` float64 for each score.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> confusions = np.array([[[6, 2], [1, 1]], [[4, 0], [0, 0]]])
        >>> resampled_scores(confusions, np.array([[1, 1], [2, 0]]), np.arange(2))['acc'].round(3)
        array([0.786, 0.7 ])
    """
    hit, label, pred = _margins(confusions)
    counts, groups = np.asarray(counts, np.float64), np.asarray(groups)
    if groups.shape != (len(hit),) or counts.ndim != 2:
        raise ValueError(
            f'groups has shape {groups.shape} and counts {counts.shape}; they must be '
            f'({len(hit)},), a group for each image, and (resamples, groups).'
        )

    def summed(values):
        """``(images, …)`` to its sum over the images of each resample, ``(resamples, …)``."""
        per_group = np.zeros((counts.shape[1], *values.shape[1:]))
        np.add.at(per_group, groups, values)
        return counts @ per_group

    iou = ratio(hit, label + pred - hit)
    of_image = _mean_without_nan(iou)
    hits, labels, preds = summed(hit), summed(label), summed(pred)
    data_iou = ratio(hits, labels + preds - hits)
    class_iou = ratio(summed(np.nan_to_num(iou)), summed(~np.isnan(iou)))
    scores = {
        'mIoU': _mean_without_nan(data_iou),
        'mIoU_I': ratio(summed(np.nan_to_num(of_image)), summed(~np.isnan(of_image))),
        'mIoU_C': _mean_without_nan(class_iou),
        **_worst_means(of_image, counts, groups),
        'mRecall': _mean_without_nan(ratio(hits, labels)),
        'acc': ratio(hits.sum(1), labels.sum(1)),
    }
    for name, classes in (class_groups or {}).items():
        scores[f'mIoU_{name}'] = _mean_without_nan(data_iou[:, list(classes)])
    return scores


def draw_resamples(groups: int, resamples: int, seed: int) -> np.ndarray:
    """Counts for :func:`resampled_scores`: the data themselves, then draws of groups.

    Args:
        groups: How many there are, and how many are drawn with replacement.
        resamples: Number of draws.
        seed: Of the draws.

    Returns:
        ``(1 + resamples, groups)``; the first row is one of each.

    Example:
        >>> draw_resamples(3, 2, seed=0).sum(1)
        array([3., 3., 3.])
    """
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), resamples)
    return np.concatenate([np.ones((1, groups)), drawn])


def _margins(confusions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels found, labelled and predicted of each image and class, ``(images, C)`` float64."""
    confusions = np.asarray(confusions)
    if confusions.ndim != 3 or confusions.shape[1] != confusions.shape[2]:
        raise ValueError(
            f'confusions has shape {confusions.shape}, not (images, C, C): give one confusion '
            'matrix for each image.'
        )
    sums = np.diagonal(confusions, axis1=1, axis2=2), confusions.sum(2), confusions.sum(1)
    return tuple(part.astype(np.float64) for part in sums)


def _mean_without_nan(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not nan; nan where everything is."""
    return ratio(np.nansum(values, -1), (~np.isnan(values)).sum(-1))


def _worst_means(values: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> dict:
    """Mean of the worst images' ``values (images,)`` in each resample."""
    order = np.argsort(values, kind='stable')
    order = order[~np.isnan(values[order])]
    values, groups = values[order], groups[order]
    total = counts @ np.bincount(groups, minlength=counts.shape[1])
    means = {}
    for percent in WORST_PERCENTS:
        wanted = np.minimum(np.maximum(1, total * percent // 100), total)
        means[f'mIoU_worst{percent}'] = ratio(_lowest_sum(values, counts, groups, wanted), wanted)
    return means


def _lowest_sum(
    values: np.ndarray, counts: np.ndarray, groups: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Sum of the ``wanted (resamples,)`` lowest of ascending values in each resample.

    With m the number of values taken up to each, it is the sum of v times the steps of m, and,
    summed by parts, of m times the steps of v. A resample rarely needs more than the lowest values,
    so those that do are done again with twice as many.
    """
    sums = np.zeros(len(counts))
    todo = np.flatnonzero(wanted)
    size = int(2 * wanted.max(initial=0))
    while len(todo):
        size = min(size, len(values))
        upto = counts[todo].T[groups[:size]]
        np.cumsum(upto, axis=0, out=upto)
        done = upto[-1] >= wanted[todo]
        np.minimum(upto, wanted[todo], out=upto)
        found = wanted[todo] * values[size - 1] - np.diff(values[:size]) @ upto[:-1]
        sums[todo[done]] = found[done]
        todo, size = todo[~done], 2 * size
    return sums
