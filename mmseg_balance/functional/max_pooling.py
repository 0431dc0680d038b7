"""Loss max-pooling: the pixel weights that make a loss largest within a norm ball."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_balance.functional.arguments import one_of
from mmseg_balance.functional.backend import kernels_take
from mmseg_balance.functional.exponential import LOG2_E
from mmseg_balance.functional.logits import wide_dtype, widen
from mmseg_balance.functional.selection import kth_largest

LARGEST_OCTAVE = 96  # an infinite loss counts as 2^96, so that ratios of losses stay finite
LOWEST_LOG = -1e4  # below the log-ratio of any two floats: stands for a threshold of zero
BIN_BITS = 5  # bins of the histogram per octave: 2^5, so that a bin's edges differ by 3 % at most


def max_pool_weights(
    pixel_losses: Tensor, valid: Tensor, p: float = 1.3, ratio: float = 0.25, pool: str = 'image'
) -> Tensor:
    r"""Pixel weights that maximise the weighted loss under a p-norm and a maximum norm.

    Over the n valid pixels of a pool, with m = max(1, ratio n) and q = p / (p - 1),

    .. math::
        w^* = \arg\max_w \langle w, \ell \rangle
        \quad\text{s.t.}\quad
        \|w\|_p \le \gamma = n^{-1/q},\;
        \|w\|_\infty \le \tau = \gamma m^{-1/p}

    (equations 4 and 5), solved by Theorem 1: :math:`w^* = \tau \min(\ell / \alpha, 1)^{q-1}` where
    :math:`\alpha` is the largest root of :math:`\sum_u \min(\ell_u, \alpha)^q = m \alpha^q`.
    ``(w * pixel_losses).sum()`` is the loss, and as w maximises it, its gradient with respect to
    ``pixel_losses`` is w itself: the weights are constants for autograd.

    Convention:
        * ignored pixel: weight exactly 0, its loss is never read;
        * ``pool='image'``: mean over the images that have a valid pixel; ``'batch'``: one pool;
        * nothing valid: all weights 0;
        * ``p=1``: the hardest m pixels, 1/m each; the share that is left over by a fractional m or
          by ties at the threshold is spread evenly over the pixels at the threshold;
        * ``p=inf`` or ``ratio=1``: the plain mean, 1/n each;
        * a pixel without loss: weight 0 for 1 < p < inf, as in the paper, even if all are;
        * NaN: ranked like 0, so that the weights are finite and weight times loss is NaN;
        * dtype: float64 for float64 losses, float32 otherwise.

    Args:
        pixel_losses: ``(N, H, W)`` non-negative losses; a negative one counts as 0.
        valid: ``(N, H, W)`` bool, False where the label is ignored.
        p: Exponent of the norm, 1 to ``inf``: the smaller, the more the hard pixels count.
        ratio: Least share of the valid pixels to support, in (0, 1].
        pool: ``'image'`` or ``'batch'``.

    Returns:
        ``(N, H, W)`` weights, detached.

    Raises:
        ValueError: If ``p``, ``ratio`` or ``pool`` is out of its range.

    Example:
        >>> losses = torch.tensor([[[4.0, 2.0, 1.0, 0.0]]])
        >>> valid = torch.ones(1, 1, 4, dtype=torch.bool)
        >>> max_pool_weights(losses, valid, p=1, ratio=0.5)
        tensor([[[0.5000, 0.5000, 0.0000, 0.0000]]])
        >>> max_pool_weights(losses, valid, p=2, ratio=0.25)
        tensor([[[0.4364, 0.2182, 0.1091, 0.0000]]])

    Reference:
        Rota Bulò, Neuhold, Kontschieder, "Loss Max-Pooling for Semantic Image Segmentation",
        CVPR 2017, https://arxiv.org/abs/1704.02966, Theorems 1 and 2, Algorithm 1.
    """
    check_max_pooling_arguments(p, ratio, pool)
    rows = pixel_losses.shape[0] if pool == 'image' else 1
    if 1 <= p < math.inf and ratio < 1 and kernels_take(pixel_losses):
        from mmseg_balance.functional.primitives.triton import max_pooling as triton_max_pooling

        losses, inside = pixel_losses.detach().float().reshape(rows, -1), valid.reshape(rows, -1)
        return triton_max_pooling.max_pool_weights(losses, inside, p, ratio).view_as(valid)
    dtype = wide_dtype(pixel_losses)
    if not pixel_losses.numel():
        return torch.zeros_like(pixel_losses, dtype=dtype)
    losses = widen(pixel_losses.detach())
    # Not clamp(min=0): it keeps the sign of -0.0, and the histogram reads the bits as an integer.
    losses = torch.where(valid & (losses > 0), losses, 0).clamp(max=2.0**LARGEST_OCTAVE)
    losses, inside = losses.reshape(rows, -1), valid.reshape(rows, -1)

    num_valid = inside.sum(1, keepdim=True)
    count = num_valid.clamp(min=1).double()
    supported = (ratio * count).clamp(min=1)  # m
    if p == math.inf or ratio == 1:
        weights = inside.to(dtype) / count.to(dtype)
    elif p == 1:
        weights = _hardest(losses, inside, supported) / supported.to(dtype)
    else:
        cap = count ** (1 / p - 1) * supported ** (-1 / p)  # tau
        height = _log_height(losses, supported, p / (p - 1))
        weights = _power(height, 1 / (p - 1)).mul_(cap.to(dtype))
    pools = (num_valid > 0).sum().clamp(min=1)
    return (weights / pools).view_as(pixel_losses)


def check_max_pooling_arguments(p: float, ratio: float, pool: str) -> None:
    """Raise a ValueError that names the argument if p, ratio or pool is out of its range."""
    if not p >= 1:
        raise ValueError(f'p={p!r} is not a norm: give 1 <= p <= inf (1.3 in the paper)')
    if not 0 < ratio <= 1:
        raise ValueError(f'ratio={ratio!r} is no share of the pixels: give 0 < ratio <= 1')
    one_of('pool', pool, ('image', 'batch'))


def _hardest(losses: Tensor, inside: Tensor, supported: Tensor) -> Tensor:
    """1 for the hardest pixels, a fraction for those at the threshold; m in all (Theorem 2)."""
    threshold = kth_largest(losses, supported.ceil().squeeze(1)).unsqueeze(1)
    above = losses > threshold
    level = (losses == threshold) & inside
    left = supported - above.sum(1, keepdim=True)
    each = left / level.sum(1, keepdim=True).clamp(min=1)
    return above.to(losses.dtype) + level * each.to(losses.dtype)


def _log_height(losses: Tensor, supported: Tensor, q: float) -> Tensor:
    r"""log min(loss / alpha, 1) of every pixel, where alpha is the row's exact threshold.

    In :math:`a = \alpha^q` the equation's two sides differ by a concave, piecewise linear function
    of slope ``#{loss > alpha} - m``. Wherever the slope is negative, the tangent's root,

    .. math:: a' = \sum_{\ell \le \alpha} \ell^q \,/\, (m - \#\{\ell > \alpha\}),

    lies at or right of the largest root. From there Newton's steps descend to it: each divides
    (distance to zero) x (slope) by four at least, and the one that starts on the last piece is
    exact. A fixed number of steps, without asking whether they have arrived, needs a good start:
    from the largest loss their number grows like q. A histogram's root is at most 3 % too high;
    of ten kinds of losses none then took more than 3 steps for p >= 1.05. Past q = 64 that is no
    longer close, but the ceil(m)-th largest loss is: never too high, and all there is to know as
    p goes to 1. At most 11 steps were seen from it.

    All is in logarithms relative to the start: nothing that matters underflows, whatever q is.
    """
    if q <= 64:
        num_steps, lowest = 5, LOWEST_LOG
        start = _histogram_threshold(losses, supported, q).exp().to(losses.dtype)
        log_alpha = torch.zeros_like(supported)
    else:
        num_steps, lowest = 14, 0.0
        start = kth_largest(losses, supported.ceil().squeeze(1)).unsqueeze(1)
        # A hair above the start, so that the losses equal to it do not count as above.
        log_alpha = torch.full_like(supported, 2 * torch.finfo(losses.dtype).eps)
    relative = (losses / torch.where(start > 0, start, 1)).log_()
    for step in range(num_steps):
        following = _newton_step(relative, log_alpha, supported, q).clamp(min=lowest)
        # Only a start left of the root may rise; afterwards rounding must not turn it round.
        log_alpha = torch.minimum(log_alpha, following) if step else following
    # Fewer than m positive losses: the threshold is zero and they are all above it.
    log_alpha = torch.where(start > 0, log_alpha, LOWEST_LOG)
    return relative.sub_(log_alpha.to(losses.dtype)).clamp_(max=0)


def _newton_step(relative: Tensor, log_alpha: Tensor, supported: Tensor, q: float) -> Tensor:
    """One step of Newton's method on alpha^q, which is given and returned as log alpha."""
    at = log_alpha.to(relative.dtype)
    clipped = _power((relative - at).clamp_(max=0), q)  # min(loss / alpha, 1)^q
    reached = clipped.floor()  # 1 where the loss is alpha or more; cheaper than a comparison
    slack = supported - reached.sum(1, keepdim=True)
    below = clipped.sub_(reached).sum(1, keepdim=True)
    step = (below / slack).log() / q
    return torch.where(slack > 0, at + step, at)


def _power(logarithm: Tensor, exponent: float) -> Tensor:
    """exp(exponent * logarithm), in place, with 0 for denormal numbers, on which CPUs are slow."""
    lowest = math.log2(torch.finfo(logarithm.dtype).tiny)
    return F.threshold_(logarithm.mul_(exponent * LOG2_E), lowest, -math.inf).exp2_()


def _histogram_threshold(losses: Tensor, supported: Tensor, q: float) -> Tensor:
    """log alpha ``(B, 1)`` of the losses rounded up to their bin's upper edge: never too low.

    The leading bits of a float are its bin on a nearly logarithmic scale, so the bins are sorted
    as they are, and Algorithm 1 of the paper runs over them in one cumulative sum.
    """
    shift = 23 - BIN_BITS
    num_bins = ((127 + LARGEST_OCTAVE) << BIN_BITS) + 1
    bins = (losses.float().view(torch.int32) >> shift).long()
    counts = torch.zeros(bins.shape[0], num_bins, dtype=torch.int32, device=bins.device)
    counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.int32))

    edges = torch.arange(1, num_bins + 1, dtype=torch.int32, device=bins.device) << shift
    log_edge = q * edges.view(torch.float32).double().log()
    log_sum = (counts.double().log() + log_edge).logcumsumexp(1)
    above = counts.sum(1, keepdim=True) - counts.cumsum(1)
    log_root = log_sum - (supported - above).log()  # NaN where m pixels or more are above
    # A bin is above the threshold where equation 9 is positive; ties differ from 0 by rounding.
    num_below = (~(log_edge > log_root + 1e-9)).sum(1, keepdim=True)
    root = log_root.gather(1, (num_below - 1).clamp(min=0))
    return torch.where(num_below > 0, root, -math.inf) / q
