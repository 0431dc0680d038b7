"""Losses on the overlap of prediction and label: a formula on three vectors per class.

Common to all of them:
    - ``over='batch'`` pools the pixels of all images, ``'image'`` averages over the images that
      have a valid pixel, ``'image_class'`` averages each class over the images that have it and
      then the classes (the mIoU^C of Wang et al. 2023, as a loss).
    - ``average='macro'`` is the mean over classes; with class weights their weighted mean.
    - absent class (no valid pixel of it in the pool): left out of the mean (``classes='present'``)
      or counted as perfect, loss 0 (``'all'``).
    - all pixels ignored: 0, with a zero gradient.
    - dtype: float32 sums whatever the logits; float64 for float64.
    - ``sync``: the sums are taken over all processes before the formula.
"""

import torch
from torch import Tensor

from mmseg_balance.functional.arguments import check_per_class, one_of
from mmseg_balance.functional.pools import macro_mean, pool_mean, pooled_sums, safe_ratio


def soft_dice_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    weight: Tensor | None = None,
    average: str = 'macro',
    over: str = 'batch',
    power: float = 2,
    smooth: float = 0.0,
    eps: float = 0.0,
    classes: str = 'present',
    sync: bool = False,
) -> Tensor:
    r"""Multi-class soft Dice loss.

    .. math::
        \text{macro (Huang eq. 5, as } 1 - \text{mean}): \quad
        1 - \frac{\sum_c w_c D_c}{\sum_c w_c}, \qquad
        D_c = \frac{2 I_c + s}{P_c + T_c + s + \varepsilon}

        \text{micro (Taubert eq. 2):} \quad
        1 - 2\,\frac{\sum_c w_c I_c + s}{\sum_c w_c (P_c + T_c) + s + \varepsilon}

    with :math:`I, P, T` of ``overlap_sums``.

    Convention:
        - that of this module; with ``average='micro'`` absent classes stay in the sums of
          prediction, as in the paper, and ``classes`` has no effect.
        - micro with ``smooth`` s > 0 can fall below 0, by s / (P + T + s): the paper's formula.

    Args:
        logits: ``(N, C, H, W)``; ``C == 1`` is background and foreground by sigmoid.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        class_weight: ``(C,)``.
        weight: ``(N, H, W)`` weights of the pixels.
        average: ``'macro'`` or ``'micro'``.
        over: ``'batch'``, ``'image'`` or, for macro, ``'image_class'``.
        power: exponent of the probabilities in P (2 in both papers).
        smooth: added to numerator and denominator.
        eps: added to the denominator.
        classes: ``'present'`` or ``'all'``.
        sync: sum over all processes.

    Returns:
        A scalar.

    Example:
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> soft_dice_loss(logits, torch.tensor([[[0, 1]]]), power=1)  # 1 - (4/7 + 2/3)/2
        tensor(0.3810)

    Reference:
        Huang et al., Balance-batch, eq. 5; Taubert et al. 2021, Loss Scheduling, eq. 2.
    """
    check_over(average, over, classes)
    intersection, predicted, target = pooled_sums(
        logits, labels, ignore_index, power, weight, over, sync
    )
    if average == 'micro':
        dice = 2 * _micro_ratio(intersection, predicted + target, class_weight, smooth, eps)
        return pool_mean(1 - dice, target, over, sync)
    dice = safe_ratio(2 * intersection, predicted + target, smooth, eps)
    return macro_mean(1 - dice, target, class_weight, classes, over, sync)


def soft_iou_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    weight: Tensor | None = None,
    average: str = 'macro',
    over: str = 'batch',
    power: float = 1,
    smooth: float = 0.0,
    eps: float = 0.0,
    classes: str = 'present',
    sync: bool = False,
) -> Tensor:
    r"""Multi-class soft IoU (Jaccard) loss.

    .. math:: 1 - \frac{\sum_c w_c J_c}{\sum_c w_c}, \qquad
              J_c = \frac{I_c + s}{P_c + T_c - I_c + s + \varepsilon}

    and for ``average='micro'`` the same ratio of the class-weighted sums.

    Convention:
        - that of this module.

    Args:
        logits, labels, ignore_index, class_weight, weight: as in :func:`soft_dice_loss`.
        average, over, power, smooth, eps, classes, sync: as in :func:`soft_dice_loss`.

    Returns:
        A scalar.

    Example:
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> soft_iou_loss(logits, torch.tensor([[[0, 1]]]))  # 1 - (0.5/1.25 + 0.75/1.5)/2
        tensor(0.5500)

    Reference:
        Rahman & Wang 2016; Huang et al., Balance-batch, section III.B.
    """
    check_over(average, over, classes)
    intersection, predicted, target = pooled_sums(
        logits, labels, ignore_index, power, weight, over, sync
    )
    union = predicted + target - intersection
    if average == 'micro':
        iou = _micro_ratio(intersection, union, class_weight, smooth, eps)
        return pool_mean(1 - iou, target, over, sync)
    iou = safe_ratio(intersection, union, smooth, eps)
    return macro_mean(1 - iou, target, class_weight, classes, over, sync)


def soft_tversky_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    weight: Tensor | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    over: str = 'batch',
    smooth: float = 0.0,
    eps: float = 0.0,
    classes: str = 'present',
    sync: bool = False,
) -> Tensor:
    r"""Multi-class (focal) Tversky loss.

    .. math:: \frac{\sum_c w_c (1 - V_c)^\gamma}{\sum_c w_c}, \qquad V_c = \frac{I_c + s}
              {I_c + \alpha (P_c - I_c) + \beta (T_c - I_c) + s + \varepsilon}

    ``alpha = beta = 0.5`` is the Dice loss with ``power=1``, ``alpha = beta = 1`` the IoU loss.

    Convention:
        - that of this module.
        - ``gamma`` is the exponent itself; Abraham & Khan 2019 write it as :math:`1/\gamma`.

    Args:
        logits, labels, ignore_index, class_weight, weight: as in :func:`soft_dice_loss`.
        alpha: weight of false positives.
        beta: weight of false negatives.
        gamma: exponent; above 1 it focuses on classes that are segmented badly.
        over, smooth, eps, classes, sync: as in :func:`soft_dice_loss`.

    Returns:
        A scalar.

    Example:
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> soft_tversky_loss(logits, torch.tensor([[[0, 1]]]), alpha=1., beta=1.)
        tensor(0.5500)

    Reference:
        Salehi et al. 2017, Tversky loss; Abraham & Khan 2019, focal Tversky loss.
    """
    check_over('macro', over, classes)
    intersection, predicted, target = pooled_sums(
        logits, labels, ignore_index, 1, weight, over, sync
    )
    false_positive, false_negative = predicted - intersection, target - intersection
    size = intersection + alpha * false_positive + beta * false_negative
    misses = 1 - safe_ratio(intersection, size, smooth, eps)
    if gamma != 1:
        # Rounding may take 1 - V to 0 or just below, where a power has no finite slope.
        misses = misses.clamp(min=torch.finfo(misses.dtype).eps) ** gamma
    return macro_mean(misses, target, class_weight, classes, over, sync)


def generalized_dice_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    weight: Tensor | None = None,
    over: str = 'batch',
    smooth: float = 0.0,
    eps: float = 0.0,
    sync: bool = False,
) -> Tensor:
    r"""Generalised Dice loss: classes weighed by their inverse squared size in the pool.

    .. math:: 1 - 2\,\frac{\sum_c v_c I_c + s}{\sum_c v_c (P_c + T_c) + s + \varepsilon},
              \qquad v_c = w_c / T_c^2

    Convention:
        - that of this module; an absent class has :math:`v_c = 0`.

    Args:
        logits, labels, ignore_index, class_weight, weight: as in :func:`soft_dice_loss`.
        over, smooth, eps, sync: as in :func:`soft_dice_loss`.

    Returns:
        A scalar.

    Example:
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> generalized_dice_loss(logits, torch.tensor([[[0, 1]]]))  # 1 - 2 * 1.25 / 4
        tensor(0.3750)

    Reference:
        Sudre et al. 2017, Generalised Dice overlap.
    """
    one_of('over', over, ('batch', 'image'))
    intersection, predicted, target = pooled_sums(
        logits, labels, ignore_index, 1, weight, over, sync
    )
    present = target > 0
    inverse_square = torch.where(present, target, 1) ** -2 * present
    if class_weight is not None:
        check_per_class('class_weight', class_weight, target.shape[1])
        inverse_square = inverse_square * class_weight
    ratio = _micro_ratio(intersection, predicted + target, inverse_square, smooth, eps)
    return pool_mean(1 - 2 * ratio, target, over, sync)


def check_over(average: str, over: str, classes: str) -> None:
    """Raise ValueError for an unknown mean, or a ratio over all classes to be averaged by class.

    Args:
        average: ``'macro'`` or ``'micro'``.
        over: ``'batch'``, ``'image'`` or ``'image_class'``.
        classes: ``'present'`` or ``'all'``.

    Example:
        >>> check_over('macro', 'image_class', 'present')
        >>> check_over('micro', 'image_class', 'present')
        Traceback (most recent call last):
        ValueError: over='image_class' averages classes ...
    """
    one_of('average', average, ('macro', 'micro'))
    one_of('over', over, ('batch', 'image', 'image_class'))
    one_of('classes', classes, ('present', 'all'))
    if average == 'micro' and over == 'image_class':
        raise ValueError(
            "over='image_class' averages classes and average='micro' has one ratio of "
            "all of them: choose average='macro', or over='image' or 'batch'."
        )


def _micro_ratio(
    numerator: Tensor, denominator: Tensor, class_weight: Tensor | None, smooth: float, eps: float
) -> Tensor:
    if class_weight is not None:
        check_per_class('class_weight', class_weight, numerator.shape[1])
        class_weight = class_weight.to(numerator.dtype)
        numerator, denominator = numerator * class_weight, denominator * class_weight
    return safe_ratio(numerator.sum(1), denominator.sum(1), smooth, eps)
