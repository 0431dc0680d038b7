"""Centre lines: the soft skeleton of thin structures and the Dice loss between skeletons."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_balance.functional.arguments import check_per_class, one_of
from mmseg_balance.functional.distributed import sum_over_ranks
from mmseg_balance.functional.labels import (
    check_label_range,
    check_shapes,
    class_indices,
    label_lookup,
)
from mmseg_balance.functional.logits import full_size_logits
from mmseg_balance.functional.pools import class_mean, pool_mean, safe_ratio


def centerline_dice_loss(
    logits: Tensor,
    labels: Tensor,
    thin_classes: Sequence[int],
    *,
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    weight: Tensor | None = None,
    iterations: int = 5,
    over: str = 'batch',
    smooth: float = 1.0,
    sync: bool = False,
) -> Tensor:
    r"""Soft clDice loss of chosen classes: how much of each skeleton lies in the other's region.

    .. math::
        1 - \frac{\sum_c w_c D_c}{\sum_c w_c}, \qquad
        D_c = \frac{2\, R_c S_c}{R_c + S_c}, \qquad
        R_c = \frac{\sum_x S(p_c)_x\, g_{xc} + s}{\sum_x S(p_c)_x + s}, \qquad
        S_c = \frac{\sum_x S(g_c)_x\, p_{xc} + s}{\sum_x S(g_c)_x + s}

    with probabilities p, one-hot labels g and the skeleton of :func:`soft_skeleton`.

    Convention:
        - ignored pixel, and one of pixel weight 0: neither in a sum nor in a neighbourhood, like
          what lies beyond the border of the image; gradient exactly 0.
        - absent class (no valid pixel of it in the pool): left out of the mean.
        - none of the chosen classes present, or all pixels ignored: 0, with a zero gradient.
        - dtype: float32, float64 for float64 logits.

    Args:
        logits: ``(N, C, H, W)``; ``C == 1`` is background and foreground by sigmoid.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        thin_classes: indices of the classes whose centre lines count; of a one-channel head 1 is
            the foreground.
        ignore_index: the label of pixels that do not count.
        class_weight: ``(C,)`` for all classes; those of ``thin_classes`` are used.
        weight: ``(N, H, W)`` weights of the pixels in the sums.
        iterations: erosions of the skeleton: at least half the width of the structures, in pixels.
        over: ``'batch'`` or ``'image'``.
        smooth: s, added to numerators and denominators.
        sync: sum over all processes.

    Returns:
        A scalar.

    Raises:
        ValueError: a class that the head does not have, an unknown ``over``, class weights of another
            length, ``iterations`` below 1.

    Example:
        >>> labels = torch.tensor([[[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
        >>> sure = 20. * (2 * labels.unsqueeze(1) - 1)
        >>> centerline_dice_loss(sure, labels, [1])
        tensor(0.)

    Reference:
        Shit et al. 2021, clDice, equations 1 to 3.
    """
    logits = full_size_logits(logits, 'centerline_dice_loss')
    check_shapes(logits, labels)
    one_of('over', over, ('batch', 'image'))
    check_thin_classes(thin_classes, logits.shape[1])
    check_iterations(iterations)
    check_per_class('class_weight', class_weight, logits.shape[1])
    labels = class_indices(labels)
    check_label_range(labels, logits.shape[1], ignore_index)
    valid = (labels != ignore_index).unsqueeze(1)
    factor = valid.to(logits.dtype)
    if weight is not None:
        weight = weight.unsqueeze(1).to(logits.dtype)
        valid, factor = valid & (weight > 0), factor * weight
    # A label out of range is NaN here where check_label_range does not look, on a GPU.
    range_check = label_lookup(logits.new_zeros(logits.shape[1]), labels, ignore_index).sum()
    probs = torch.where(valid, logits, 0).softmax(1)
    # Slices and not a list of indices, whose copy to a GPU would synchronise.
    probs = torch.stack([probs[:, c] for c in thin_classes], dim=1)
    truth = torch.stack([labels == c for c in thin_classes], dim=1).to(probs.dtype)
    sums = _centerline_sums(probs, truth, valid, factor, iterations)  # (5, N, K)
    if over == 'batch':
        sums = sums.sum(1, keepdim=True)
        sums = sum_over_ranks(sums) if sync else sums
    precise, predicted, found, lines, target = sums
    precision, sensitivity = (
        safe_ratio(precise, predicted, smooth),
        safe_ratio(found, lines, smooth),
    )
    dice = safe_ratio(2 * precision * sensitivity, precision + sensitivity)
    if class_weight is not None:
        class_weight = torch.stack([class_weight[c] for c in thin_classes])
    losses = class_mean(1 - dice, target, class_weight, 'present')
    return pool_mean(losses, target, over, sync) + range_check


def soft_skeleton(values: Tensor, iterations: int, valid: Tensor | None = None) -> Tensor:
    r"""Skeleton of a soft mask: what openings remove, from the mask and from its erosions.

    .. math:: S_0 = I - O(I), \qquad
              S_k = S_{k-1} + (1 - S_{k-1})\,\big(E^k(I) - O(E^k(I))\big)

    with the erosion E over a pixel and its four neighbours, and the opening O: E, then the largest
    value over 3 x 3 pixels.

    Convention:
        - invalid pixel, and what lies beyond the border: in no neighbourhood. The values returned
          there mean nothing.

    Args:
        values: ``(N, K, H, W)`` in [0, 1].
        iterations: number of erosions, at least half the width of what is to leave a skeleton.
        valid: ``(N, 1, H, W)`` bool, or None.

    Returns:
        ``(N, K, H, W)`` in [0, 1].

    Example:
        >>> bar = torch.zeros(1, 1, 5, 7)
        >>> bar[..., 1:4, 1:6] = 1
        >>> soft_skeleton(bar, 2)[0, 0, 2]
        tensor([0., 0., 1., 1., 1., 0., 0.])

    Reference:
        Shit et al. 2021, algorithm 1.
    """
    skeleton = 0.0
    for _ in range(iterations + 1):
        eroded = _erode(values, valid)
        removed = (values - _dilate(eroded, valid)).clamp(min=0)
        skeleton = skeleton + removed - skeleton * removed
        values = eroded
    return skeleton


def check_thin_classes(thin_classes: Sequence[int], num_classes: int | None = None) -> None:
    """Raise ValueError unless every one is the index of a class, and none is there twice.

    Args:
        thin_classes: indices.
        num_classes: number of classes C, two for one channel; None if not known yet.

    Example:
        >>> check_thin_classes([1, 2], num_classes=3)
        >>> check_thin_classes([3], num_classes=3)
        Traceback (most recent call last):
        ValueError: thin_classes=[3] must be different indices from 0 to 2: ...
    """
    indices = list(thin_classes)
    end = math.inf if num_classes is None else num_classes
    if indices and len(set(indices)) == len(indices) and all(0 <= i < end for i in indices):
        return
    to = '' if num_classes is None else f' to {num_classes - 1}'
    raise ValueError(
        f'thin_classes={indices} must be different indices from 0{to}: name the thin classes in '
        "the order of the data set's classes (of a one-channel head the foreground is 1)."
    )


def _centerline_sums(
    probs: Tensor, truth: Tensor, valid: Tensor, factor: Tensor, iterations: int
) -> Tensor:
    """Numerators and denominators of precision and sensitivity, and the labelled pixels."""
    predicted = soft_skeleton(probs, iterations, valid) * factor
    lines = soft_skeleton(truth, iterations, valid) * factor
    maps = predicted * truth, predicted, lines * probs, lines, truth * factor
    # An invalid pixel's skeleton is finite and its factor 0.
    return torch.stack([values.sum((2, 3)) for values in maps])


def _erode(values: Tensor, valid: Tensor | None) -> Tensor:
    """The least value of a pixel and its four neighbours."""
    holes = -(values if valid is None else torch.where(valid, values, 1))
    column = F.max_pool2d(holes, (3, 1), 1, (1, 0))
    row = F.max_pool2d(holes, (1, 3), 1, (0, 1))
    return -torch.maximum(column, row)


def _dilate(values: Tensor, valid: Tensor | None) -> Tensor:
    """The largest value of a pixel and its eight neighbours."""
    holes = values if valid is None else torch.where(valid, values, 0)
    return F.max_pool2d(holes, 3, 1, 1)


def check_iterations(iterations: int) -> int:
    """The number if it is at least 1, else a ValueError: without an erosion there is no skeleton.

    Example:
        >>> check_iterations(5)
        5
    """
    if not iterations >= 1:
        raise ValueError(
            f'iterations={iterations} must be at least 1: half the width of the thin '
            'structures in pixels, 5 is common.'
        )
    return iterations
