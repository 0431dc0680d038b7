"""Sums of each class over a pool of pixels, an image or the batch, and means over pools.

Conventions are those of :mod:`mmseg_balance.functional.overlap`.
"""

import torch
from torch import Tensor

from mmseg_balance.functional.arguments import check_per_class
from mmseg_balance.functional.distributed import sum_over_ranks
from mmseg_balance.functional.primitives import overlap_sums


def pooled_sums(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int,
    power: float,
    weight: Tensor | None,
    over: str,
    sync: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Intersection, predicted and target size ``(G, C)`` of each pool: the images, or one batch."""
    sums = overlap_sums(logits, labels, ignore_index, power, weight, per_image=True)
    if over != 'batch':
        return sums
    pooled = torch.stack(sums).sum(1, keepdim=True)
    return tuple(sum_over_ranks(pooled) if sync else pooled)


def safe_ratio(
    numerator: Tensor, denominator: Tensor | int, smooth: float = 0.0, eps: float = 0.0
) -> Tensor:
    """Smoothed quotient; where the denominator is 0 the numerator is too, and this is 0.

    Few operations, for on a GPU each of them costs a launch however small it is.
    """
    if smooth or eps:
        numerator, denominator = numerator + smooth, denominator + (smooth + eps)
    return numerator / (denominator + (denominator == 0))


def class_mean(losses: Tensor, target: Tensor, class_weight: Tensor | None, classes: str) -> Tensor:
    """Weighted mean over classes, ``(G, C)`` to ``(G,)``."""
    check_per_class('class_weight', class_weight, losses.shape[1])
    present = target > 0
    if class_weight is not None:
        class_weight = class_weight.to(losses.dtype)
    shares = present if class_weight is None else present * class_weight
    total = (losses * shares).sum(1)
    if classes == 'present':
        return safe_ratio(total, shares.sum(1))
    return safe_ratio(total, losses.shape[1] if class_weight is None else class_weight.sum())


def macro_mean(
    losses: Tensor, target: Tensor, class_weight: Tensor | None, classes: str, over: str, sync: bool
) -> Tensor:
    """Mean over classes and pools of losses ``(G, C)``, with ``over='image_class'`` pools first."""
    if over != 'image_class':
        return pool_mean(class_mean(losses, target, class_weight, classes), target, over, sync)
    present = target > 0
    sums = torch.stack([(losses * present).sum(0), present.sum(0).to(losses.dtype)])
    total, images = sum_over_ranks(sums) if sync else sums
    return class_mean(safe_ratio(total, images)[None], images[None], class_weight, classes)[0]


def pool_mean(losses: Tensor, target: Tensor, over: str, sync: bool) -> Tensor:
    """Mean over the pools that have a valid pixel; 0 when there is none."""
    counted = (target > 0).any(1)
    total = (losses * counted).sum()
    if over == 'batch':
        return total
    number = counted.sum()
    if sync:
        total, number = sum_over_ranks(torch.stack([total, number.to(total.dtype)]))
    return safe_ratio(total, number)
