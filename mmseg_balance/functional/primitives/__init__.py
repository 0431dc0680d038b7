"""The two functions that touch the big ``(N, C, H, W)`` tensor; every loss is a formula on them.

Which code runs is chosen in ``backend.py``: Triton kernels for logits on a GPU, else plain
PyTorch. Neither keeps more than one logits-sized tensor for the backward pass: the logits
themselves, or on a CPU their probabilities.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_balance.functional.backend import is_compiling, uses_triton
from mmseg_balance.functional.labels import check_label_range, label_lookup, sum_by_label
from mmseg_balance.functional.primitives import tiled as eager_primitives
from mmseg_balance.functional.primitives.upsampled import UpsampledLogits

__all__ = [
    'pixel_nll',
    'overlap_sums',
    'as_multiclass',
    'label_lookup',
    'sum_by_label',
    'check_label_range',
]


def pixel_nll(
    logits: Tensor | UpsampledLogits,
    labels: Tensor,
    ignore_index: int = 255,
    return_hits: bool = False,
    align_corners: bool | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Negative log-probability of each pixel's label.

    .. math:: \ell_x = -\log p_x(y_x), \qquad p_x = \mathrm{softmax}(z_x)

    Convention:
        - ignored pixel: value 0, gradient exactly 0, whatever its (finite) logits.
        - ``C == 1``: two classes with the logits ``(0, z)``, so that ``p(1) = sigmoid(z)``.
        - dtype: computed and returned in float32, in float64 for float64 logits.
        - ``align_corners`` given, or :class:`UpsampledLogits`: the logits may be of another size;
          they are interpolated as by ``F.interpolate(mode='bilinear')``, in float32, without ever
          being stored at full size.

    Args:
        logits: ``(N, C, H, W)`` unnormalised scores.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        return_hits: also return whether the label's logit is the largest, ``(N, H, W)`` bool
            (a tie is a hit; an ignored pixel never is).
        align_corners: None (sizes must agree), or how to interpolate logits ``(N, C, h, w)``.

    Returns:
        ``(N, H, W)`` losses, and the hits if asked for.

    Raises:
        ValueError: shapes that do not match, or on the CPU a label out of range.

    Example:
        >>> logits = torch.tensor([2., 0.]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
        >>> pixel_nll(logits, torch.tensor([[[0, 255]]]))
        tensor([[[0.1269, 0.0000]]])
    """
    logits, labels, align_corners = _checked(logits, labels, ignore_index, align_corners)
    nll, hits = _apply('PixelNLL', logits, labels, ignore_index, return_hits, align_corners)
    return (nll, hits) if return_hits else nll


def overlap_sums(
    logits: Tensor | UpsampledLogits,
    labels: Tensor,
    ignore_index: int = 255,
    power: float = 1,
    pixel_weight: Tensor | None = None,
    per_image: bool = False,
    align_corners: bool | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Soft intersection, prediction and target mass of each class.

    .. math:: I_c = \sum_x w_x g_{xc}\, p_{xc}, \qquad
              P_c = \sum_x w_x\, p_{xc}^{\,k}, \qquad T_c = \sum_x w_x g_{xc}

    with the one-hot label :math:`g` and ``power`` :math:`k`.

    Convention:
        - ignored pixel: in no sum, gradient exactly 0.
        - absent class: ``T_c = I_c = 0``; what that means is the loss's decision.
        - ``C == 1``: two classes with the logits ``(0, z)``; vectors of length 2.
        - dtype: float32 probabilities and sums, float64 for float64 logits.
        - ``align_corners`` given, or :class:`UpsampledLogits`: the logits may be of another size;
          they are interpolated as by ``F.interpolate(mode='bilinear')``, in float32, without ever
          being stored at full size.

    Args:
        logits: ``(N, C, H, W)`` unnormalised scores.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        power: exponent of the probabilities in the predicted mass.
        pixel_weight: ``(N, H, W)`` weights of the pixels, constants for the gradient.
        per_image: keep the images apart.
        align_corners: None (sizes must agree), or how to interpolate logits ``(N, C, h, w)``.

    Returns:
        intersection, predicted, target: ``(C,)`` each, or ``(N, C)`` with ``per_image``.

    Raises:
        ValueError: shapes that do not match, or on the CPU a label out of range.

    Example:
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> overlap_sums(logits, torch.tensor([[[0, 1]]]))
        (tensor([0.5000, 0.7500]), tensor([0.7500, 1.2500]), tensor([1., 1.]))
    """
    logits, labels, align_corners = _checked(logits, labels, ignore_index, align_corners)
    if pixel_weight is not None and pixel_weight.shape != labels.shape:
        raise ValueError(
            f'pixel_weight has shape {tuple(pixel_weight.shape)}; it must be that of labels, {tuple(labels.shape)}.'
        )
    sums = _apply('OverlapSums', logits, labels, ignore_index, power, pixel_weight, align_corners)
    return sums if per_image else tuple(s.sum(0) for s in sums)


def as_multiclass(logits: Tensor | UpsampledLogits) -> Tensor | UpsampledLogits:
    """One-channel logits ``z`` as the two-class logits ``(0, z)``; others as they are.

    Example:
        >>> as_multiclass(torch.tensor([1.5]).view(1, 1, 1, 1)).flatten()
        tensor([0.0000, 1.5000])
    """
    if logits.shape[1] != 1:
        return logits
    if isinstance(logits, UpsampledLogits):
        return UpsampledLogits(as_multiclass(logits.low), logits.size, logits.align_corners)
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


def _apply(
    primitive: str, logits: Tensor, labels: Tensor, ignore_index: int, *arguments: object
) -> tuple[Tensor, ...]:
    """The primitive by the code that is chosen, with labels out of range called by their name."""
    if uses_triton(logits):
        from mmseg_balance.functional.primitives.triton import launches as triton_primitives

        check_label_range(labels, logits.shape[1], ignore_index)
        return getattr(triton_primitives, primitive).apply(logits, labels, ignore_index, *arguments)
    function = getattr(eager_primitives, primitive)
    if is_compiling():
        return function.apply(logits, labels, ignore_index, *arguments)
    try:
        return function.apply(logits, labels, ignore_index, *arguments)
    except (IndexError, RuntimeError):
        # Looked up only when an index has failed: before, it would be two more passes a step.
        check_label_range(labels, logits.shape[1], ignore_index)
        raise


def _checked(
    logits: Tensor | UpsampledLogits, labels: Tensor, ignore_index: int, align_corners: bool | None
) -> tuple[Tensor, Tensor, bool | None]:
    if isinstance(logits, UpsampledLogits):
        logits, align_corners = logits.low, logits.align_corners
    if logits.dim() != 4 or labels.dim() != 3 or logits.shape[0] != labels.shape[0]:
        raise ValueError(
            f'logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not '
            'match: expected (N, C, H, W) and (N, H, W).'
        )
    if labels.shape[1:] == logits.shape[2:]:
        align_corners = None
    elif align_corners is None:
        raise ValueError(
            f'logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not '
            'match: expected (N, C, H, W) and (N, H, W), or align_corners=True or '
            'False for logits that are to be interpolated.'
        )
    logits, labels = as_multiclass(logits), labels.long()
    if align_corners is not None and is_compiling() and not uses_triton(logits):
        # The compiler sees one tile as large as the batch: nothing is saved by interpolating late.
        logits = F.interpolate(
            logits, labels.shape[1:], mode='bilinear', align_corners=align_corners
        )
        align_corners = None
    return logits, labels, align_corners
