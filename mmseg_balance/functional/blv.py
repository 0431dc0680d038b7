"""Balancing logit variation: noise on the logits that grows with a class's rarity."""

import math

import torch
from torch import Tensor

from mmseg_balance.functional.arguments import check_per_class
from mmseg_balance.functional.logits import full_size_logits
from mmseg_balance.functional.primitives import pixel_nll

LEVELS = 256  # quantiles of the noise: one random byte chooses one


def blv_loss(
    logits: Tensor,
    labels: Tensor,
    variation: Tensor,
    *,
    ignore_index: int = 255,
    sigma: float = 4.0,
    bound: float = 1.0,
) -> Tensor:
    r"""Cross entropy of each pixel at logits with noise that is larger for rarer classes.

    .. math:: \ell_x = -\log \mathrm{softmax}\big(z_x + v \odot \min(|\delta_x|, b)\big)_{y_x},
              \qquad \delta_{xc} \sim \mathcal N(0, \sigma^2)

    Convention:
        - noise: one draw for each pixel and class, from 256 equally likely quantiles of the
          distribution, by the default random generator of the logits' device.
        - the noise is never negative; its mean raises the logits of rare classes in training.
        - ignored pixel: 0, gradient exactly 0.
        - dtype: float32, float64 for float64 logits; the noise does not depend on the dtype.

    Args:
        logits: ``(N, C, H, W)``; ``C == 1`` is background and foreground by sigmoid.
        labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
        variation: ``(C,)`` v, see :func:`class_variation`.
        ignore_index: the label of pixels that do not count.
        sigma: standard deviation of the noise, above 0.
        bound: largest noise b, above 0.

    Returns:
        ``(N, H, W)``.

    Example:
        >>> logits, labels = torch.zeros(1, 2, 1, 1), torch.tensor([[[0]]])
        >>> blv_loss(logits, labels, torch.tensor([0., 1.]), sigma=1e6)  # log(1 + e)
        tensor([[[1.3133]]])

    Reference:
        Wang et al. 2023, Balancing Logit Variation; bound and quotient of their published code.
    """
    logits = full_size_logits(logits, 'blv_loss')
    check_per_class('variation', variation, logits.shape[1])
    noise = logit_noise(logits.shape, logits.device, sigma, bound).to(logits.dtype)
    scale = variation.to(logits.dtype)[:, None, None]
    return pixel_nll(torch.addcmul(logits, noise, scale), labels, ignore_index)


def class_variation(pixels: Tensor) -> Tensor:
    r"""How far each class's logits vary: 0 for the most frequent class, 1 for the rarest.

    .. math:: v_c = \frac{\log n_{\max} - \log n_c}{\log n_{\max} - \log n_{\min}}

    Convention:
        - absent class: counted as one pixel.
        - all classes equally frequent: no variation.

    Args:
        pixels: ``(C,)`` pixels of each class.

    Example:
        >>> class_variation(torch.tensor([10000., 100., 1.]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    rarity = pixels.clamp(min=1).log()
    rarity = rarity.max() - rarity
    return rarity / (rarity.max() + (rarity.max() == 0))


def logit_noise(
    shape: torch.Size, device: torch.device, sigma: float = 4.0, bound: float = 1.0
) -> Tensor:
    r"""Noise :math:`\min(|\delta|, b)`, :math:`\delta \sim \mathcal N(0, \sigma^2)`.

    A byte of a random 64-bit number chooses a quantile: on a CPU a third of the time of as many
    normal numbers.

    Args:
        shape: of the noise.
        device: whose default generator draws.
        sigma: standard deviation before the bound.
        bound: largest value.

    Returns:
        float32, one of 256 values.

    Example:
        >>> noise = logit_noise((1000,), torch.device('cpu'))
        >>> float(noise.min()) > 0, float(noise.max())
        (True, 1.0)
    """
    middle = (torch.arange(LEVELS, dtype=torch.float64, device=device) + 0.5) / LEVELS
    quantiles = (sigma * math.sqrt(2) * torch.erfinv(middle)).clamp(max=bound).float()
    number = math.prod(shape)
    words = torch.randint(-(2**63), 2**63 - 1, (-(-number // 8),), device=device)
    chosen = words.view(torch.uint8)[:number].int()
    return quantiles.index_select(0, chosen).view(shape)
