"""What logits may be: of one channel, in half precision, of low resolution."""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor


def wide_dtype(values: 'Tensor | UpsampledLogits') -> torch.dtype:
    """The dtype of every sum: float64 for float64, float32 for everything narrower.

    Example:
        >>> wide_dtype(torch.zeros(1, dtype=torch.float16))
        torch.float32
    """
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def widen(values: 'Tensor | UpsampledLogits') -> 'Tensor | UpsampledLogits':
    """The values in :func:`wide_dtype`; the tensor itself where it has it already.

    Example:
        >>> widen(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return values if values.dtype == torch.float64 else values.float()


def as_multiclass(logits: 'Tensor | UpsampledLogits', dim: int = 1) -> 'Tensor | UpsampledLogits':
    """One-channel logits ``z`` as the two-class logits ``(0, z)``; others as they are.

    Args:
        logits: scores with the classes in ``dim``.
        dim: where the classes are.

    Example:
        >>> as_multiclass(torch.tensor([1.5]).view(1, 1, 1, 1)).flatten()
        tensor([0.0000, 1.5000])
    """
    if isinstance(logits, PairedLogits):
        logits = logits.logits
    if logits.shape[dim] != 1:
        return logits
    if isinstance(logits, UpsampledLogits):
        return UpsampledLogits(as_multiclass(logits.low), logits.size, logits.align_corners)
    return torch.cat([torch.zeros_like(logits), logits], dim=dim)


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


class PairedLogits:
    """Logits of which a region loss leaves the pixel losses for the pixel loss that comes next.

    A primitive takes them as logits. ``overlap_sums`` then computes ``pixel_nll`` too, from the same
    softmax and with the same backward pass, and keeps it here; ``pixel_nll`` of the same labels
    finds it. Whoever adds two losses of the same logits makes one, as ``PairedLoss`` does.

    Args:
        logits: ``(N, C, H, W)``, or of low resolution, or paired already.

    Example:
        >>> from mmseg_balance.functional.primitives import overlap_sums, pixel_nll
        >>> logits, labels = PairedLogits(torch.zeros(1, 2, 1, 1)), torch.tensor([[[0]]])
        >>> sums = overlap_sums(logits, labels)
        >>> pixel_nll(logits, labels) is logits.nll_of(labels, 255)
        True
    """

    def __init__(self, logits: 'Tensor | UpsampledLogits | PairedLogits') -> None:
        self.logits = logits.logits if isinstance(logits, PairedLogits) else logits
        self.shape, self.dtype, self.device = logits.shape, logits.dtype, logits.device
        self._kept: tuple[Tensor, Tensor, int] | None = None

    def keep_nll(self, nll: Tensor, labels: Tensor, ignore_index: int) -> None:
        """Keep the pixel losses of these labels."""
        self._kept = nll, labels, ignore_index

    def nll_of(self, labels: Tensor, ignore_index: int) -> Tensor | None:
        """The pixel losses of just these labels, if they are there."""
        if self._kept is None or self._kept[1] is not labels or self._kept[2] != ignore_index:
            return None
        return self._kept[0]

    def new_full(self, *args, **kwargs) -> Tensor:
        return self.logits.new_full(*args, **kwargs)


def full_size_logits(logits: Tensor, loss: str) -> Tensor:
    """Logits of two or more classes in :func:`wide_dtype`, for a loss that changes single pixels.

    Args:
        logits: ``(N, C, H, W)``; one channel z becomes the two-class logits ``(0, z)``.
        loss: name for the error.

    Raises:
        ValueError: :class:`UpsampledLogits`.

    Example:
        >>> full_size_logits(torch.tensor([1.5]).half().view(1, 1, 1, 1), 'a loss').flatten()
        tensor([0.0000, 1.5000])
    """
    logits = as_multiclass(logits)
    refuse_low_resolution(logits, loss)
    return widen(logits)


def refuse_low_resolution(logits: Tensor | UpsampledLogits, loss: str) -> None:
    """Raise ValueError, with the name of the loss, for :class:`UpsampledLogits`."""
    if isinstance(logits, UpsampledLogits):
        raise ValueError(
            f"{loss} needs each pixel's own logits and must take logits of the labels' size: pass "
            'logits.full.'
        )
