"""Losses of single pixels: a weight per pixel times the negative log-likelihood.

The loss functions return ``(N, H, W)`` without class weights, 0 where ignored. A caller looks the
weights up once, ``w = label_lookup(class_weight, labels)``, multiplies them in, and divides by their
sum: ``reduce_pixel_losses(losses * w, labels, label_weight=w)``. Label smoothing is the exception: see
:func:`weighted_cross_entropy_loss`.
"""

import torch
from torch import Tensor
from torch.autograd import Function

from mmseg_balance.functional.arguments import below_one, check_per_class, not_negative, one_of
from mmseg_balance.functional.distributed import sum_over_ranks
from mmseg_balance.functional.first_order import first_order
from mmseg_balance.functional.labels import count_valid, label_lookup, valid_and_class
from mmseg_balance.functional.logits import full_size_logits, wide_dtype, widen
from mmseg_balance.functional.primitives import pixel_nll


def reduce_pixel_losses(
    losses: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    label_weight: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
    sync: bool = False,
) -> Tensor:
    r"""Mean or sum of pixel losses, or the losses themselves.

    .. math:: \frac{\sum_x v_x \ell_x}{\sum_{x\ \mathrm{valid}} w_{y_x}}

    with the pixel weights :math:`v` and the class weights :math:`w` (1 where not given).

    Convention:
        - ignored pixel: its loss is 0 already; it is not in the denominator.
        - denominator: number of valid pixels; with class weights the sum of theirs, as
          ``F.cross_entropy`` has it; ``avg_factor`` if given. Pixel weights do not enter it.
        - empty batch: 0.

    Args:
        losses: ``(N, H, W)`` pixel losses, class weights multiplied in.
        labels: ``(N, H, W)``.
        ignore_index: the label of pixels that do not count.
        label_weight: ``(N, H, W)`` class weight of each pixel's label (0 where ignored), if any.
        weight: ``(N, H, W)`` weights of the pixels.
        avg_factor: a denominator of one's own.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.
        sync: sum numerator and denominator over all processes.

    Raises:
        ValueError: an unknown reduction, or ``avg_factor`` with ``'sum'``.

    Example:
        >>> losses, labels = torch.tensor([[[1., 2., 0.]]]), torch.tensor([[[0, 1, 255]]])
        >>> reduce_pixel_losses(losses, labels)
        tensor(1.5000)
        >>> w = torch.tensor([[[3., 1., 0.]]])
        >>> reduce_pixel_losses(losses * w, labels, label_weight=w)  # (3 * 1 + 1 * 2) / 4
        tensor(1.2500)
    """
    one_of('reduction', reduction, ('mean', 'sum', 'none'))
    if reduction == 'sum' and avg_factor is not None:
        raise ValueError(
            f"avg_factor={avg_factor} divides a mean and reduction='sum' has no divisor: remove "
            "avg_factor, or take reduction='mean'."
        )
    if weight is not None:
        losses = losses * weight.to(wide_dtype(losses))
    if reduction == 'none':
        return losses
    if avg_factor is not None:
        total = avg_factor.to(losses.dtype) if torch.is_tensor(avg_factor) else avg_factor
    elif label_weight is None:
        total = count_valid(labels, ignore_index)
    else:
        total = label_weight.sum()
    loss = losses.sum()
    if sync:
        total = torch.as_tensor(total, dtype=loss.dtype, device=loss.device)
        loss, total = sum_over_ranks(torch.stack([loss, total]))
    return loss if reduction == 'sum' else loss / (total + (total == 0))


def weighted_cross_entropy_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = 255,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Class-weighted cross entropy of each pixel (Taubert eq. 1), with label smoothing.

    .. math:: \ell_x = (1 - \epsilon)\, w_{y_x} (-\log p_{x y_x})
              + \frac{\epsilon}{C} \sum_c w_c (-\log p_{xc})

    Convention:
        - that of ``F.cross_entropy(weight, ignore_index, label_smoothing, reduction='none')``.
        - ignored pixel: 0, also when ``ignore_index`` lies beyond the class weights (255).
        - the class weights are in the values: with label smoothing every class has a share of
          each pixel, so no factor per pixel could bring them in later.

    Args:
        logits: ``(N, C, H, W)``; ``C == 1`` is background and foreground by sigmoid.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        class_weight: ``(C,)``.
        label_smoothing: :math:`\epsilon` in [0, 1).

    Returns:
        ``(N, H, W)``.

    Example:
        >>> logits = torch.tensor([2., 0.]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
        >>> weighted_cross_entropy_loss(logits, torch.tensor([[[0, 255]]]),
        ...                             class_weight=torch.tensor([3., 1.]))
        tensor([[[0.3808, 0.0000]]])
    """
    below_one('label_smoothing', label_smoothing)
    check_per_class('class_weight', class_weight, max(logits.shape[1], 2))
    losses = pixel_nll(logits, labels, ignore_index)
    if class_weight is not None:
        class_weight = class_weight.to(losses.dtype)
    if label_smoothing:
        smooth = _uniform_nll(losses, logits, labels, ignore_index, class_weight)
    if class_weight is not None:
        losses = losses * label_lookup(class_weight, labels, ignore_index)
    if label_smoothing:
        losses = (1 - label_smoothing) * losses + label_smoothing * smooth
    return losses


def softmax_focal_loss(
    logits: Tensor, labels: Tensor, *, ignore_index: int = 255, gamma: float = 2.0
) -> Tensor:
    r"""Softmax focal loss of each pixel.

    .. math:: \ell_x = (1 - p_{x y_x})^\gamma (-\log p_{x y_x})

    Convention:
        - ``gamma=0`` is cross entropy.

    Args:
        logits, labels, ignore_index: as in :func:`weighted_cross_entropy_loss`.
        gamma: how much easy pixels are played down; at least 0.

    Returns:
        ``(N, H, W)``.

    Example:
        >>> logits = torch.zeros(1, 2, 1, 1)
        >>> softmax_focal_loss(logits, torch.tensor([[[0]]]))  # 0.5**2 * log(2)
        tensor([[[0.1733]]])

    Reference:
        Lin et al. 2017; Taubert et al. 2021, eq. 3.
    """
    return focal_modulation(pixel_nll(logits, labels, ignore_index), gamma)


def focal_modulation(nll: Tensor, gamma: float) -> Tensor:
    r"""``(1 - exp(-nll))**gamma * nll``, with a finite gradient for every ``gamma`` >= 0.

    Convention:
        - dtype: computed in float32, in float64 for float64 values.

    Args:
        nll: any shape, not negative.
        gamma: exponent.

    Example:
        >>> focal_modulation(torch.tensor([0., 0.6931472]), gamma=1.)
        tensor([0.0000, 0.3466])
    """
    not_negative('gamma', gamma)
    return nll if gamma == 0 else _FocalModulation.apply(widen(nll), gamma)


class _FocalModulation(Function):
    """The slope comes with the value: fewer passes, and one map kept instead of five."""

    @staticmethod
    def forward(ctx, nll, gamma):
        # Below gamma = 1 the power's slope at 0 is infinite, and infinity times nll = 0 is nan.
        miss = torch.expm1(-nll).neg_().clamp_(min=torch.finfo(nll.dtype).tiny)
        power = miss**gamma
        loss = power * nll
        # d/dl (m^g l) = m^g + g m^g l / m (1 - m), as dm/dl = 1 - m
        # Clamped: at an infinite loss 1 - m is 0, and infinity times 0 is nan.
        ctx.save_for_backward(power.addcmul_(loss.clamp(max=1e6) / miss, 1 - miss, value=gamma))
        return loss

    @staticmethod
    @first_order
    def backward(ctx, grad):
        (slope,) = ctx.saved_tensors
        return grad * slope, None


def _uniform_nll(
    nll: Tensor, logits: Tensor, labels: Tensor, ignore_index: int, class_weight: Tensor | None
) -> Tensor:
    """Mean over classes of the weighted -log p, from the label's nll and sums of the logits alone:
    -log p_c = nll + z_y - z_c, so that no second log-softmax is kept.
    """
    logits = full_size_logits(logits, 'label smoothing')
    valid, index = valid_and_class(labels, logits.shape[1], ignore_index)
    if class_weight is None:
        class_weight = logits.new_ones(logits.shape[1])
    label_score = logits.gather(1, index.unsqueeze(1)).squeeze(1)
    gap = class_weight.sum() * label_score - (logits * class_weight[:, None, None]).sum(1)
    return torch.where(valid, class_weight.sum() * nll + gap, 0) / logits.shape[1]
