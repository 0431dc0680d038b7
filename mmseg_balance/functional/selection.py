"""The k-th largest value of each row: exact, without a sort, without reading k back to the host."""

import torch
from torch import Tensor

from mmseg_balance.functional.logits import widen

DIGIT_BITS = 11  # 2048 counters a row: three passes for float32, six for float64


def kth_largest(values: Tensor, k: Tensor) -> Tensor:
    r"""The k-th largest value of each row, with its own k per row.

    Radix selection: floats, read as integers with the negative ones mirrored, keep their order, so
    the answer is found digit by digit: count the rows' values per digit, see in which digit the
    k-th largest lies, keep only the values with that digit, go on with the next. The number of
    passes depends on the dtype alone; ``k`` never leaves its device.

    Convention:
        * fractional k: rounded down, then clamped to ``[1, M]``;
        * a value that must never be taken: give it as ``-inf``;
        * NaN ranks above ``inf`` if its sign bit is clear, below ``-inf`` if it is set;
        * half precision is selected in float32, which holds it exactly.

    Args:
        values: ``(B, M)`` floating-point tensor; its graph is not followed.
        k: ``(B,)`` how many values of the row are at least the answer, 1 for the maximum.

    Returns:
        ``(B,)`` values, float64 for float64 and float32 otherwise.

    Example:
        >>> values = torch.tensor([[0.5, 2.0, -1.0, 2.0], [4.0, 3.0, 1.0, 2.0]])
        >>> kth_largest(values, torch.tensor([3, 2]))
        tensor([0.5000, 3.0000])
    """
    values = widen(values.detach())
    keys = _ordered_integers(values)
    num_values = keys.shape[1]
    num_bits = 64 if values.dtype == torch.float64 else 32
    ones = torch.ones_like(keys, dtype=torch.int32)
    rank = k.to(torch.int64).clamp(1, num_values).unsqueeze(1)

    # The first digit carries the sign: counted from the least one, it is not negative.
    prefix, remaining = -(1 << (DIGIT_BITS - 1)), num_bits
    while remaining:
        width = min(DIGIT_BITS, remaining)
        remaining -= width
        prefix = prefix << width if remaining + width < num_bits else prefix
        digit, rank = _digit_of_rank((keys >> remaining) - prefix, ones, rank, 1 << width)
        prefix = prefix + digit.to(keys.dtype)
    return _ordered_integers(prefix).view(values.dtype).squeeze(1)


def _ordered_integers(values: Tensor) -> Tensor:
    """Integers in the order of the floats; applied to those integers it gives the bits back."""
    wide = values.dtype in (torch.float64, torch.int64)
    bits = values.view(torch.int64 if wide else torch.int32)
    magnitude = (1 << (63 if wide else 31)) - 1
    return bits ^ ((bits >> (63 if wide else 31)) & magnitude)


def _digit_of_rank(
    digits: Tensor, ones: Tensor, rank: Tensor, num_digits: int
) -> tuple[Tensor, Tensor]:
    """The digit ``(B, 1)`` at which the value of this rank lies, and its rank among those there.

    Values whose leading digits are other ones have ``digits`` outside of ``[0, num_digits)``.
    """
    bins = digits.clamp_(-1, num_digits).add_(1).long()
    counts = torch.zeros(len(bins), num_digits + 2, dtype=torch.int32, device=bins.device)
    counts.scatter_add_(1, bins, ones)
    at_least = counts[:, 1:-1].flip(1).cumsum(1)  # the largest digit first
    above = (at_least < rank).sum(1, keepdim=True)
    passed = torch.where(above > 0, at_least.gather(1, (above - 1).clamp(min=0)), 0)
    return num_digits - 1 - above, rank - passed
