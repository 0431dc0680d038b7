"""Logits and labels as training has them: regions, not noise, and some pixels without label."""

import torch
import torch.nn.functional as F
from torch import Tensor

REGION = 32  # pixels: the side of a region of one label
IGNORED_SHARE = 0.05


def region_labels(
    images: int, num_classes: int, height: int, width: int, ignore_index: int = 255, seed: int = 0
) -> Tensor:
    """Labels ``(N, H, W)`` in square regions with jagged borders; the top rows are ignored.

    Each class is half as frequent again as the next, so that rare classes are really rare.
    (Labels drawn pixel by pixel would make every lookup by label miss the cache.)

    Args:
        images, num_classes, height, width: N, C, H, W.
        ignore_index: label of the top 5% of the rows.
        seed: of the labels.

    Example:
        >>> labels = region_labels(1, 3, 64, 64)
        >>> labels.shape, round((labels == 255).float().mean().item(), 2)
        (torch.Size([1, 64, 64]), 0.05)
    """
    generator = torch.Generator().manual_seed(seed)
    shares = 1.5 ** -torch.arange(num_classes, dtype=torch.float64)
    shares = shares.clamp(min=1e-4)
    rows, columns = -(-height // REGION) + 1, -(-width // REGION) + 1
    regions = torch.multinomial(
        shares, images * rows * columns, replacement=True, generator=generator
    ).view(images, rows, columns)
    jitter = torch.randint(0, 4, (2, images, height, width), generator=generator)
    row = (torch.arange(height).view(-1, 1) + jitter[0]) // REGION
    column = (torch.arange(width) + jitter[1]) // REGION
    labels = regions[torch.arange(images).view(-1, 1, 1), row, column]
    labels[:, : round(IGNORED_SHARE * height)] = ignore_index
    return labels


def training_batch(
    shape: tuple[int, int, int, int],
    device: str = 'cpu',
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Logits that are right on most pixels, and labels; the same on every device.

    Args:
        shape: ``(N, C, H, W)``.
        device, dtype: of the logits.
        seed: of both.

    Example:
        >>> logits, labels = training_batch((1, 3, 64, 64))
        >>> (logits.argmax(1) == labels).float().mean() > 0.6
        tensor(True)
    """
    images, classes, height, width = shape
    labels = region_labels(images, classes, height, width, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator)
    known = torch.where(labels == 255, 0, labels).unsqueeze(1)
    logits.scatter_add_(1, known, torch.full(known.shape, 3.0))
    return logits.to(device, dtype).requires_grad_(), labels.to(device)


def low_resolution_batch(
    shape: tuple[int, int, int, int],
    scale: int,
    device: str = 'cpu',
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """:func:`training_batch` with logits of a ``scale``-th of the height and width."""
    logits, labels = training_batch(shape, 'cpu', torch.float32, seed)
    size = [-(-side // scale) for side in shape[2:]]
    logits = F.adaptive_avg_pool2d(logits.detach(), size)
    return logits.to(device, dtype).requires_grad_(), labels.to(device)
