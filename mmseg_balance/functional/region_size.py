"""Region size: how far the predicted share of each class is from the labelled one."""

from torch import Tensor

from mmseg_balance.functional.arguments import one_of
from mmseg_balance.functional.pools import class_mean, pool_mean, pooled_sums, safe_ratio


def region_size_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    weight: Tensor | None = None,
    over: str = 'image',
    classes: str = 'all',
    sync: bool = False,
) -> Tensor:
    r"""Mean absolute difference between predicted and labelled proportions.

    .. math:: \frac{\sum_c w_c\, |P_c - T_c| / n}{\sum_c w_c}, \qquad n = \sum_c T_c

    with the predicted and labelled sizes :math:`P, T` of ``overlap_sums``.

    Convention:
        - it knows sizes and no places: a term beside cross entropy, never a loss by itself.
        - absent class: counted, its whole predicted proportion is an error (``classes='all'``), as
          in the paper; or left out (``'present'``).
        - ignored pixel: in neither proportion nor in n.
        - ``over='image'``: the mean over the images that have a valid pixel; ``'batch'`` pools
          them.
        - all pixels ignored: 0, with a zero gradient.
        - dtype: float32 sums, float64 for float64 logits.

    Args:
        logits: ``(N, C, H, W)``; ``C == 1`` is background and foreground by sigmoid.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        class_weight: ``(C,)``.
        weight: ``(N, H, W)`` weights of the pixels.
        over: ``'image'`` or ``'batch'``.
        classes: ``'all'`` or ``'present'``.
        sync: sum over all processes.

    Returns:
        A scalar in [0, 1].

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> region_size_loss(logits, torch.tensor([[[0, 1]]]))  # |0.75 - 1| / 2
        tensor(0.1250)

    Reference:
        Liu et al. 2021, The Hidden Label-Marginal Biases of Segmentation Losses (the L1 variant).
    """
    one_of('over', over, ('batch', 'image'))
    one_of('classes', classes, ('present', 'all'))
    _, predicted, target = pooled_sums(logits, labels, ignore_index, 1, weight, over, sync)
    error = safe_ratio((predicted - target).abs(), target.sum(1, keepdim=True))
    counted = target if classes == 'present' else target.new_ones(target.shape)
    return pool_mean(class_mean(error, counted, class_weight, 'present'), target, over, sync)
