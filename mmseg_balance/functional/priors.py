"""Losses of single pixels that know how frequent the classes are: margins and shifts of logits.

As in :mod:`mmseg_balance.functional.pixel` they return ``(N, H, W)`` without class weights.
"""

from torch import Tensor
from torch.autograd import Function

from mmseg_balance.functional.arguments import check_per_class
from mmseg_balance.functional.labels import check_shapes, label_lookup, valid_and_class
from mmseg_balance.functional.logits import as_multiclass, full_size_logits, widen
from mmseg_balance.functional.primitives import pixel_nll


def ldam_loss(
    logits: Tensor, labels: Tensor, margins: Tensor, *, ignore_index: int = 255, scale: float = 30.0
) -> Tensor:
    r"""Cross entropy with a label-distribution-aware margin, of each pixel.

    .. math:: \ell_x = -\log \frac{e^{s (z_y - \Delta_y)}}
              {e^{s (z_y - \Delta_y)} + \sum_{c \ne y} e^{s z_c}}

    Convention:
        - the logits should be bounded, as Cao's cosine classifier makes them; on an ordinary head
          choose a ``scale`` near 1.

    Args:
        logits, labels, ignore_index: as in
            :func:`~mmseg_balance.functional.pixel.weighted_cross_entropy_loss`.
        margins: ``(C,)`` :math:`\Delta`, see :func:`ldam_margins`.
        scale: s.

    Returns:
        ``(N, H, W)``.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 2, 1, 1)
        >>> ldam_loss(logits, torch.tensor([[[1]]]), torch.tensor([0., 0.5]), scale=2.)
        tensor([[[1.3133]]])

    Reference:
        Cao et al. 2019, eq. 13.
    """
    logits = full_size_logits(logits, 'ldam_loss')
    check_shapes(logits, labels)
    check_per_class('margins', margins, logits.shape[1])
    margin = label_lookup(margins.to(logits.dtype), labels, ignore_index).unsqueeze(1)
    _, index = valid_and_class(labels, logits.shape[1], ignore_index)  # pixel_nll refuses bad ones
    scaled = _MarginLogits.apply(logits, margin, index.unsqueeze(1), scale)
    return _Slope.apply(pixel_nll(scaled, labels, ignore_index), scale)


class _MarginLogits(Function):
    """``s (z - margin of the label)``, whose gradient lacks the s that :class:`_Slope` has."""

    @staticmethod
    def forward(ctx, logits, margin, index, scale):
        ctx.save_for_backward(index)
        scaled = (logits * scale).scatter_add_(1, index, -scale * margin)
        return scaled.view_as(scaled)  # else PyTorch 2.11 compiles the gradient to zero

    @staticmethod
    def backward(ctx, grad):
        (index,) = ctx.saved_tensors
        return grad, -grad.gather(1, index) if ctx.needs_input_grad[1] else None, None, None


class _Slope(Function):
    """The losses themselves, with s times the gradient: one number a pixel to multiply, not C."""

    @staticmethod
    def forward(ctx, losses, scale):
        ctx.scale = scale
        return losses.view_as(losses)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.scale, None


def ldam_margins(pixels: Tensor, max_margin: float = 0.5) -> Tensor:
    r"""Margins falling with the fourth root of the class size (Cao et al. 2019, eq. 11).

    .. math:: \Delta_c = \text{max\_margin} \cdot (n_{\min} / n_c)^{1/4}

    Convention:
        - absent class: counted as one pixel.

    Args:
        pixels: ``(C,)`` pixels of each class.
        max_margin: the margin of the rarest class.

    Example:
        >>> import torch
        >>> ldam_margins(torch.tensor([16., 1.]))
        tensor([0.2500, 0.5000])
    """
    pixels = pixels.clamp(min=1)
    return max_margin * (pixels.min() / pixels) ** 0.25


def logit_adjusted_loss(
    logits: Tensor, labels: Tensor, priors: Tensor, *, ignore_index: int = 255, tau: float = 1.0
) -> Tensor:
    r"""Cross entropy of the logits plus :math:`\tau` log-priors, of each pixel.

    .. math:: \ell_x = -\log \mathrm{softmax}(z_x + \tau \log \pi)_y

    Args:
        logits, labels, ignore_index: as in
            :func:`~mmseg_balance.functional.pixel.weighted_cross_entropy_loss`.
        priors: ``(C,)`` share of each class among the training pixels, above 0.
        tau: strength; 0 is cross entropy, 1 is consistent for the balanced error.

    Returns:
        ``(N, H, W)``.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 2, 1, 1)
        >>> logit_adjusted_loss(logits, torch.tensor([[[1]]]), torch.tensor([0.9, 0.1]))
        tensor([[[2.3026]]])

    Reference:
        Menon et al. 2021, eq. 10.
    """
    logits = widen(as_multiclass(logits))
    check_per_class('priors', priors, logits.shape[1])
    logits = logits + tau * priors.log().to(logits.dtype)[:, None, None]
    return pixel_nll(logits, labels, ignore_index)
