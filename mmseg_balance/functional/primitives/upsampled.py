"""Bilinear upsampling of some rows at a time, and its transpose; where each output line comes from.

The coordinates are those of ``F.interpolate(mode='bilinear')``.
"""

from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def source_lines(size: int, output_size: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    r"""Which two input lines an output line lies between, and how far along.

    .. math:: s(y) = \frac{y (h - 1)}{H - 1} \;\text{(align\_corners)}, \qquad
              s(y) = \max\left(\frac{(y + \frac12) h}{H} - \frac12, 0\right)

    Args:
        size: number of input lines h.
        output_size: number of output lines H.
        align_corners: as in ``F.interpolate``.

    Returns:
        lower line, upper line (int64) and the share of the upper one (float64), ``(H,)`` each.

    Example:
        >>> lower, upper, share = source_lines(2, 4, align_corners=False)
        >>> lower.tolist(), upper.tolist(), share.tolist()
        ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.25])
    """
    line = torch.arange(output_size, dtype=torch.float64)
    if align_corners:
        scale = (size - 1) / (output_size - 1) if output_size > 1 else 0.0
        source = line * scale
    else:
        scale = size / output_size
        source = ((line + 0.5) * scale - 0.5).clamp(min=0)
    lower = source.long().clamp(max=size - 1)
    return lower, (lower + 1).clamp(max=size - 1), (source - lower).clamp(0, 1)


class UpsampledLogits:
    """Logits of low resolution that stand for their bilinear interpolation to the labels' size.

    The primitives take them as logits and interpolate inside; ``full`` makes the interpolation.
    What is the same before and after it (the number of classes, dtype, a term for each class)
    goes without; anything else is an AttributeError, never a silent full-size tensor.

    Args:
        low: ``(N, C, h, w)``.
        size: ``(H, W)``.
        align_corners: as in ``F.interpolate``.

    Example:
        >>> logits = UpsampledLogits(torch.tensor([[[[0., 4.]]]]), (1, 4), align_corners=False)
        >>> logits.shape, logits.full.flatten()
        (torch.Size([1, 1, 1, 4]), tensor([0., 1., 3., 4.]))
    """

    def __init__(self, low: Tensor, size: tuple[int, int], align_corners: bool) -> None:
        self.low = low
        self.size = torch.Size(size)
        self.align_corners = bool(align_corners)

    @cached_property
    def full(self) -> Tensor:
        """``(N, C, H, W)``, made once."""
        if self.low.shape[2:] == self.size:
            return self.low
        return F.interpolate(self.low, self.size, mode='bilinear', align_corners=self.align_corners)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((*self.low.shape[:2], *self.size))

    @property
    def dtype(self) -> torch.dtype:
        return self.low.dtype

    @property
    def device(self) -> torch.device:
        return self.low.device

    def new_full(self, *args, **kwargs) -> Tensor:
        return self.low.new_full(*args, **kwargs)

    def detach(self) -> 'UpsampledLogits':
        return UpsampledLogits(self.low.detach(), self.size, self.align_corners)

    def float(self) -> 'UpsampledLogits':
        return UpsampledLogits(self.low.float(), self.size, self.align_corners)

    def __add__(self, other: Tensor) -> 'UpsampledLogits':
        """A term for each class: the interpolation's weights sum to one."""
        if other.shape[-2:] != (1, 1):
            raise ValueError(
                f'a term of shape {tuple(other.shape)} differs between pixels: add it to .full'
            )
        return UpsampledLogits(self.low + other, self.size, self.align_corners)


@lru_cache(maxsize=64)
def source_lines_on(
    size: int, output_size: int, align_corners: bool, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`source_lines` on a device, made once."""
    return tuple(t.to(device) for t in source_lines(size, output_size, align_corners))


def upsample_rows(
    logits: Tensor, rows: slice, size: tuple[int, int], align_corners: bool
) -> Tensor:
    """Some rows of ``F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)``.

    Args:
        logits: ``(N, C, h, w)``.
        rows: which rows of the output, with start and stop given.
        size: ``(H, W)`` of the whole output.
        align_corners: as in ``F.interpolate``.

    Returns:
        ``(N, C, rows, W)``.

    Example:
        >>> upsample_rows(torch.tensor([[[[0.], [4.]]]]), slice(1, 3), (4, 1), False).flatten()
        tensor([1., 3.])
    """
    lower, upper, share = (
        t[rows] for t in source_lines_on(logits.shape[2], size[0], align_corners, logits.device)
    )
    share = share.to(logits.dtype)[:, None]
    lines = torch.lerp(logits.index_select(2, lower), logits.index_select(2, upper), share)
    return F.interpolate(lines, (len(lower), size[1]), mode='bilinear', align_corners=align_corners)


def add_rows_gradient(
    total: Tensor, grad: Tensor, rows: slice, size: tuple[int, int], align_corners: bool
) -> None:
    """Add the gradient of :func:`upsample_rows`'s input to ``total``, in place.

    Args:
        total: ``(N, C, h, w)``.
        grad: ``(N, C, rows, W)`` gradient of the output rows.
        rows, size, align_corners: as in :func:`upsample_rows`.

    Example:
        >>> total = torch.zeros(1, 1, 2, 1)
        >>> add_rows_gradient(total, torch.ones(1, 1, 2, 1), slice(0, 2), (4, 1), False)
        >>> total.flatten()
        tensor([1.7500, 0.2500])
    """
    lower, upper, share = (
        t[rows] for t in source_lines_on(total.shape[2], size[0], align_corners, total.device)
    )
    shape = [*total.shape[:2], len(lower), total.shape[3]]
    lines = torch.ops.aten.upsample_bilinear2d_backward(
        grad, [len(lower), size[1]], shape, align_corners
    )
    share = share.to(total.dtype)[:, None]
    total.index_add_(2, lower, lines * (1 - share))
    total.index_add_(2, upper, lines * share)
