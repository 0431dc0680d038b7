"""Seesaw loss: fewer penalties for rare classes, more where a wrong class is too probable."""

import torch
from torch import Tensor
from torch.autograd import Function

from mmseg_balance.functional.arguments import check_per_class
from mmseg_balance.functional.labels import (
    check_label_range,
    check_shapes,
    label_lookup,
    valid_and_class,
)
from mmseg_balance.functional.logits import full_size_logits
from mmseg_balance.functional.primitives import pixel_nll


def softmax_seesaw_loss(
    logits: Tensor,
    labels: Tensor,
    pixels: Tensor,
    *,
    ignore_index: int = 255,
    p: float = 0.8,
    q: float = 2.0,
) -> Tensor:
    r"""Seesaw loss of each pixel.

    .. math::
        \ell_x = -\log \frac{e^{z_y}}{e^{z_y} + \sum_{c \ne y} M_{yc} C_{yc}\, e^{z_c}}, \qquad
        M_{yc} = \min\Big(1, \frac{n_c}{n_y}\Big)^p, \qquad
        C_{yc} = \max\Big(1, \frac{p_c}{p_y}\Big)^q

    M (mitigation) keeps pixels of frequent classes from pushing rare classes down; C
    (compensation) raises the penalty of a class that is more probable than the label.

    Convention:
        - M and C are constants for the gradient.
        - absent class: counted as one pixel in ``pixels``.
        - p_y has no lower bound as in the paper; the authors' code divides by at least 0.01, which
          lowers the loss of pixels that are certainly wrong and hardly changes the gradient.
        - ignored pixel: 0, gradient exactly 0.
        - dtype: float32, float64 for float64 logits.

    Args:
        logits: ``(N, C, H, W)``; ``C == 1`` is background and foreground by sigmoid.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        pixels: ``(C,)`` pixels of each class so far, or in the training set.
        ignore_index: the label of pixels that do not count.
        p: exponent of the mitigation factor; 0 turns it off.
        q: exponent of the compensation factor; 0 turns it off.

    Returns:
        ``(N, H, W)``.

    Example:
        >>> logits = torch.zeros(1, 2, 1, 2)
        >>> softmax_seesaw_loss(logits, torch.tensor([[[0, 1]]]), torch.tensor([100., 1.]), p=0.5)
        tensor([[[0.0953, 0.6931]]])

    Reference:
        Wang et al. 2021, Seesaw Loss for Long-Tailed Instance Segmentation.
    """
    logits = full_size_logits(logits, 'softmax_seesaw_loss')
    check_shapes(logits, labels)
    check_per_class('pixels', pixels, logits.shape[1])
    check_label_range(labels, logits.shape[1], ignore_index)
    size = pixels.clamp(min=1).to(logits.dtype).log()
    size = (p * (size - size.max())).to(logits.dtype)
    return pixel_nll(_Seesawed.apply(logits, labels, size, ignore_index, q), labels, ignore_index)


class _Seesawed(Function):
    """The logits z + log M + log C, with the gradient of z.

    A softmax does not see a constant that is added to all classes of a pixel: with p log n_y added
    log M becomes min(p log n_c, p log n_y), which is p log n_y for the label itself.
    """

    @staticmethod
    def forward(ctx, logits, labels, size, ignore_index, q):
        _, index = valid_and_class(labels, logits.shape[1], ignore_index)
        own = logits.gather(1, index.unsqueeze(1))
        raised = torch.lerp(own, logits, 1 + q)  # z_c + q (z_c - z_y)
        raised = torch.maximum(raised, logits, out=raised)
        own_size = label_lookup(size, labels, ignore_index).unsqueeze(1)
        raised.add_(torch.minimum(size[:, None, None], own_size))
        return raised.view_as(raised)  # else PyTorch 2.11 compiles the gradient to zero

    @staticmethod
    def backward(ctx, grad):
        return grad, None, None, None, None
