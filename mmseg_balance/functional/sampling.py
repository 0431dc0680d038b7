"""Which image comes next: class probabilities, and a draw by class."""

import numpy as np
import torch
from torch import Tensor

from mmseg_balance.functional.arguments import positive


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
        available: (C,) bool, whether some image has the class, or how many have it.

    Raises:
        ValueError: no class is available.

    >>> performance_probabilities(np.array([.9, .5, np.nan, .2]), np.array([1, 1, 0, 1], bool))
    array([0.07142857, 0.35714286, 0.        , 0.57142857])

    Reference: Rota Bulo et al., *Loss max-pooling for semantic image segmentation*, CVPR 2017,
    section 4, "complementary sampling strategy".
    """
    iou, available = np.asarray(iou, dtype=np.float64), np.asarray(available, dtype=bool)
    if not available.any():
        raise ValueError(f'available has none of the {len(available)} classes: no image to draw.')
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
    scores = (1 - np.asarray(frequency, dtype=np.float64)) / positive('temperature', temperature)
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def draw_by_class(
    class_chance: float,
    image_chance: float,
    probabilities: np.ndarray,
    starts: np.ndarray,
    images: np.ndarray,
) -> tuple[int, int]:
    """Turn two random numbers into a class and an image that has it, all such images alike.

    Args:
        class_chance: uniform in [0, 1), decides on the class.
        image_chance: uniform in [0, 1), decides on the image.
        probabilities: (C,) of the classes; 0 for those without an image.
        starts: (C + 1,) images of class c are ``images[starts[c]:starts[c + 1]]``.
        images: indices of images.

    Returns:
        ``(class, image)``.

    >>> draw_by_class(.7, .9, np.array([.5, .5]), np.array([0, 1, 3]), np.array([4, 5, 6]))
    (1, 6)
    """
    cumulated = np.cumsum(probabilities)
    drawn = int(np.searchsorted(cumulated, class_chance * cumulated[-1], side='right'))
    first, last = int(starts[drawn]), int(starts[drawn + 1])
    return drawn, int(images[first + int(image_chance * (last - first))])


def add_to_confusion(confusion: Tensor, pred: Tensor, labels: Tensor) -> None:
    """Add pixels to a confusion matrix in place, without a host–device synchronisation.

    Convention: a label outside ``[0, C)``, as ignored ones are, is not counted. (The metrics'
    confusion matrix checks labels instead, for which it has to look at them on the host.)

    Args:
        confusion: (C, C) int64, rows are labels, columns predictions.
        pred: predicted classes, of any dtype.
        labels: true classes, the shape of ``pred``.

    >>> total = torch.zeros(2, 2, dtype=torch.int64)
    >>> add_to_confusion(total, torch.tensor([0, 1, 1]), torch.tensor([0, 0, 255]))
    >>> total.tolist()
    [[1, 1], [0, 0]]
    """
    num_classes = len(confusion)
    labels = labels.reshape(-1).long()
    counted = (labels >= 0) & (labels < num_classes)
    pairs = torch.where(counted, labels * num_classes + pred.reshape(-1).long(), 0)
    confusion.view(-1).scatter_add_(0, pairs, counted.to(confusion.dtype))


def evenly(total: int, number: int) -> np.ndarray:
    """At most ``number`` of the indices below ``total``, evenly spread.

    >>> evenly(7, 3).tolist(), evenly(2, 3).tolist(), evenly(0, 3).tolist()
    ([0, 3, 6], [0, 1], [])
    """
    return np.linspace(0, total - 1, min(number, total)).round().astype(int)
