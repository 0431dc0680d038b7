"""The functions that touch the big ``(N, C, H, W)`` tensor; every loss is a formula on them.

Four modules compute the same, and :func:`code_for` chooses one: Triton kernels for logits on a GPU;
``tiled`` on a CPU; ``upsampled`` for logits of low resolution; ``dense`` for all else. None keeps
more than one logits-sized tensor for the backward pass.
"""

from types import ModuleType

import torch.nn.functional as F
from torch import Tensor

from mmseg_balance.functional.arguments import positive
from mmseg_balance.functional.backend import is_compiling, uses_triton
from mmseg_balance.functional.labels import check_label_range, check_shapes, class_indices
from mmseg_balance.functional.logits import PairedLogits, UpsampledLogits, as_multiclass, wide_dtype
from mmseg_balance.functional.primitives import dense, tiled, upsampled

__all__ = ['overlap_sums', 'pixel_nll', 'pixel_nll_and_overlap_sums']


def pixel_nll(
    logits: Tensor | UpsampledLogits,
    labels: Tensor,
    ignore_index: int = 255,
    return_hits: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Negative log-probability of each pixel's label.

    .. math:: \ell_x = -\log p_x(y_x), \qquad p_x = \mathrm{softmax}(z_x)

    Convention:
        - ignored pixel: value 0, gradient exactly 0, whatever its logits (NaN and inf too).
        - label out of range: ValueError on a CPU, NaN on a GPU and in a compiled graph.
        - ``C == 1``: two classes with the logits ``(0, z)``, so that ``p(1) = sigmoid(z)``.
        - dtype: computed and returned in float32, in float64 for float64 logits.
        - :class:`UpsampledLogits` are interpolated as by ``F.interpolate(mode='bilinear')``, in
          float32, without ever being stored at full size.

    Args:
        logits: ``(N, C, H, W)`` unnormalised scores.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        return_hits: also return whether the label's logit is the largest, ``(N, H, W)`` bool
            (a tie is a hit; an ignored pixel never is).

    Returns:
        ``(N, H, W)`` losses, and the hits if asked for.

    Raises:
        ValueError: shapes that do not match, or on a CPU a label out of range.

    Example:
        >>> import torch
        >>> logits = torch.tensor([2., 0.]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
        >>> pixel_nll(logits, torch.tensor([[[0, 255]]]))
        tensor([[[0.1269, 0.0000]]])
    """
    if isinstance(logits, PairedLogits) and not return_hits:
        nll = logits.nll_of(labels, ignore_index)
        if nll is not None:
            return nll
    logits, labels, align_corners = _checked(logits, labels, ignore_index)
    nll, hits = code_for(logits, align_corners).PixelNLL.apply(
        logits, labels, ignore_index, return_hits, align_corners
    )
    return (nll, hits) if return_hits else nll


def overlap_sums(
    logits: Tensor | UpsampledLogits,
    labels: Tensor,
    ignore_index: int = 255,
    power: float = 1,
    pixel_weight: Tensor | None = None,
    per_image: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Soft intersection, prediction and target of each class.

    .. math:: I_c = \sum_x w_x g_{xc}\, p_{xc}, \qquad
              P_c = \sum_x w_x\, p_{xc}^{\,k}, \qquad T_c = \sum_x w_x g_{xc}

    with the one-hot label :math:`g` and ``power`` :math:`k`.

    Convention:
        - ignored pixel: in no sum, gradient exactly 0, whatever its logits (NaN and inf too).
        - label out of range: ValueError on a CPU, NaN on a GPU and in a compiled graph.
        - absent class: ``T_c = I_c = 0``; what that means is the loss's decision.
        - ``C == 1``: two classes with the logits ``(0, z)``; vectors of length 2.
        - dtype: float32 probabilities and sums, float64 for float64 logits.
        - :class:`UpsampledLogits` are interpolated as by ``F.interpolate(mode='bilinear')``, in
          float32, without ever being stored at full size.

    Args:
        logits: ``(N, C, H, W)`` unnormalised scores.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index: the label of pixels that do not count.
        power: exponent of the probabilities in the prediction, above 0.
        pixel_weight: ``(N, H, W)`` weights of the pixels, constants for the gradient.
        per_image: keep the images apart.

    Returns:
        intersection, predicted, target: ``(C,)`` each, or ``(N, C)`` with ``per_image``.

    Raises:
        ValueError: shapes that do not match, a power that is not above 0, or on a CPU a label out
            of range.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> overlap_sums(logits, torch.tensor([[[0, 1]]]))
        (tensor([0.5000, 0.7500]), tensor([0.7500, 1.2500]), tensor([1., 1.]))
    """
    if isinstance(logits, PairedLogits):
        nll, sums = pixel_nll_and_overlap_sums(
            logits.logits, labels, ignore_index, power, pixel_weight, per_image
        )
        logits.keep_nll(nll, labels, ignore_index)
        return sums
    return _overlap_sums(
        logits, labels, ignore_index, power, pixel_weight, per_image, with_nll=False
    )[1]


def pixel_nll_and_overlap_sums(
    logits: Tensor | UpsampledLogits,
    labels: Tensor,
    ignore_index: int = 255,
    power: float = 1,
    pixel_weight: Tensor | None = None,
    per_image: bool = False,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    r"""What :func:`pixel_nll` and :func:`overlap_sums` return, from one softmax and one backward.

    Convention:
        - that of both; ``pixel_weight`` weighs the sums alone.

    Args:
        logits: ``(N, C, H, W)`` unnormalised scores.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        ignore_index, power, pixel_weight, per_image: as in :func:`overlap_sums`.

    Returns:
        ``(N, H, W)`` losses, and intersection, predicted and target.

    Raises:
        ValueError: shapes that do not match, a power that is not above 0, or on a CPU a label out
            of range.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> nll, (intersection, _, _) = pixel_nll_and_overlap_sums(logits, torch.tensor([[[0, 1]]]))
        >>> nll, intersection
        (tensor([[[0.6931, 0.2877]]]), tensor([0.5000, 0.7500]))
    """
    return _overlap_sums(
        logits, labels, ignore_index, power, pixel_weight, per_image, with_nll=True
    )


def _overlap_sums(
    logits: Tensor | UpsampledLogits,
    labels: Tensor,
    ignore_index: int,
    power: float,
    pixel_weight: Tensor | None,
    per_image: bool,
    with_nll: bool,
) -> tuple[Tensor | None, tuple[Tensor, Tensor, Tensor]]:
    positive('power', power)  # 0 would count ignored pixels, for 0 ** 0 is 1
    logits, labels, align_corners = _checked(logits, labels, ignore_index)
    if pixel_weight is not None and pixel_weight.shape != labels.shape:
        raise ValueError(
            f'pixel_weight has shape {tuple(pixel_weight.shape)}; it must be that of labels, '
            f'{tuple(labels.shape)}.'
        )
    if pixel_weight is not None:
        pixel_weight = pixel_weight.to(wide_dtype(logits))  # else it decides the dtype of the sums
    *sums, nll = code_for(logits, align_corners).OverlapSums.apply(
        logits, labels, ignore_index, power, pixel_weight, with_nll, align_corners
    )
    return nll, tuple(sums if per_image else (s.sum(0) for s in sums))


def code_for(logits: Tensor, align_corners: bool | None) -> ModuleType:
    """The module that computes the primitives of these logits."""
    if uses_triton(logits):
        from mmseg_balance.functional.primitives.triton import launches

        return launches
    elif align_corners is not None:
        return upsampled
    elif is_compiling() or logits.device.type != 'cpu' or logits.dtype != wide_dtype(logits):
        return dense
    else:
        return tiled if logits.numel() else dense


def _checked(
    logits: Tensor | UpsampledLogits | PairedLogits, labels: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor, bool | None]:
    """Logits and labels as the code below takes them, and how to interpolate the logits, if at all."""
    check_shapes(logits, labels)
    logits, labels = as_multiclass(logits), class_indices(labels)
    check_label_range(labels, logits.shape[1], ignore_index)
    if not isinstance(logits, UpsampledLogits):
        return logits, labels, None
    low, align_corners = logits.low, logits.align_corners
    if low.shape[2:] == labels.shape[1:]:
        return low, labels, None
    if is_compiling() and not uses_triton(low):
        # The compiler sees one tile as large as the batch: nothing is saved by interpolating late.
        full = F.interpolate(low, logits.size, mode='bilinear', align_corners=align_corners)
        return full, labels, None
    return low, labels, align_corners
