"""Bilinear interpolation by rows, with the coordinates of ``F.interpolate``, and its gradient."""

from functools import lru_cache, wraps

import torch
import torch.nn.functional as F
from torch import Tensor

DEVICES_WITH_GRAPHS = ('cuda',)


def source_lines(
    size: int, output_size: int, align_corners: bool, device: torch.device | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Which two input lines an output line lies between, and how far along.

    .. math:: s(y) = \frac{y (h - 1)}{H - 1} \;\text{(align\_corners)}, \qquad
              s(y) = \max\left(\frac{(y + \frac12) h}{H} - \frac12, 0\right)

    Args:
        size: number of input lines h.
        output_size: number of output lines H.
        align_corners: as in ``F.interpolate``.
        device: where the tables are made; nothing is copied there.

    Returns:
        lower line, upper line (int64) and the share of the upper one (float64), ``(H,)`` each.

    Example:
        >>> lower, upper, share = source_lines(2, 4, align_corners=False)
        >>> lower.tolist(), upper.tolist(), share.tolist()
        ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.25])
    """
    line = torch.arange(output_size, dtype=torch.float64, device=device)
    if align_corners:
        scale = (size - 1) / (output_size - 1) if output_size > 1 else 0.0
        source = line * scale
    else:
        scale = size / output_size
        source = ((line + 0.5) * scale - 0.5).clamp(min=0)
    lower = source.long().clamp(max=size - 1)
    return lower, (lower + 1).clamp(max=size - 1), (source - lower).clamp(0, 1)


def kept_by_size(make):
    """Make a table once for each size and device, but for each CUDA graph its own.

    What a graph's capture allocates is the graph's: kept here, it would outlive its memory.
    """
    cached = lru_cache(maxsize=64)(make)

    @wraps(make)
    def look_up(size, output_size, align_corners, device):
        if device.type in DEVICES_WITH_GRAPHS and torch.cuda.is_current_stream_capturing():
            return make(size, output_size, align_corners, device)
        return cached(size, output_size, align_corners, device)

    return look_up


@kept_by_size
def source_lines_on(
    size: int, output_size: int, align_corners: bool, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`source_lines`, kept."""
    return source_lines(size, output_size, align_corners, device)


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
