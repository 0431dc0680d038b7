"""Recall loss: cross entropy weighted by how much of its class a step misses."""

import torch
from torch import Tensor

from mmseg_balance.functional.arguments import check_per_class
from mmseg_balance.functional.distributed import sum_over_ranks
from mmseg_balance.functional.labels import class_indices, label_lookup, sum_by_label
from mmseg_balance.functional.primitives import pixel_nll


def recall_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    running_recall: Tensor | None = None,
    momentum: float = 0.0,
    sync: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Recall loss of each pixel, and the recall it was weighted with.

    .. math:: \ell_x = (1 - R_y)\,(-\log p_{xy}), \qquad R_c = \frac{TP_c}{TP_c + FN_c}

    The weights are constants for the gradient.

    Convention:
        - a pixel is right when its label's logit equals the largest one (a tie is right).
        - absent class: keeps its running recall; without one its recall is nan.
        - ignored pixel: 0.

    Args:
        logits: ``(N, C, H, W)``; ``C == 1`` is background and foreground by sigmoid.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        running_recall: ``(C,)`` recall so far, nan for classes not seen yet.
        momentum: share of the running recall in the new one; 0 looks at this batch alone.
        sync: count over all processes.

    Returns:
        ``(N, H, W)`` losses and ``(C,)`` recall.

    Example:
        >>> logits = torch.tensor([1., 0.]).view(1, 2, 1, 1).expand(1, 2, 1, 3)
        >>> losses, recall = recall_loss(logits, torch.tensor([[[0, 0, 1]]]))
        >>> losses, recall
        (tensor([[[0.0000, 0.0000, 1.3133]]]), tensor([1., 0.]))

    Reference:
        Tian et al., Recall Loss, eq. 5.
    """
    labels = class_indices(labels)
    nll, hits = pixel_nll(logits, labels, ignore_index, return_hits=True)
    num_classes = max(logits.shape[1], 2)
    check_per_class('running_recall', running_recall, num_classes)
    true_positive, total = (
        sum_by_label(count, labels, num_classes, ignore_index).sum(0).to(nll.dtype)
        for count in (hits, labels != ignore_index)
    )
    if sync:
        true_positive, total = sum_over_ranks(torch.stack([true_positive, total]))
    recall = true_positive / total
    if running_recall is not None:
        recall = _blend(running_recall, recall, momentum)
    weights = 1 - recall.nan_to_num(nan=1.0)
    return nll * label_lookup(weights, labels, ignore_index), recall


def _blend(running: Tensor, recall: Tensor, momentum: float) -> Tensor:
    """Moving average over the batches in which a class occurs."""
    blended = momentum * running + (1 - momentum) * recall
    return torch.where(recall.isnan(), running, torch.where(running.isnan(), recall, blended))
