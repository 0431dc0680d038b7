"""Loss max-pooling's threshold on a GPU: a search without sort, atomics or host–device synchronisation.

Non-negative floats have the order of their bits read as integers, a nearly logarithmic scale. Each
pass cuts the interval in which the threshold lies into ``CANDIDATES + 1`` parts: every program adds
up what its pixels say of each part, and each program of the next pass adds up the programs' sums
and narrows the interval for itself. A pass is one launch.
"""

import math

import torch
import triton
from torch import Tensor

from mmseg_balance.functional.primitives.triton.blocks import programs_per_row
from mmseg_balance.functional.primitives.triton.max_pooling_kernels import (
    search_kernel,
    weights_kernel,
)
from mmseg_balance.functional.primitives.triton.operators import operator, shapes_of
from mmseg_balance.functional.primitives.triton.tiles import COMPILER

# 17^8 and, with the tangents, 17^6 parts: the threshold to the last bit.
PASSES, PASSES_OF_HARDEST = 6, 8
CANDIDATES = 16
BLOCK, WARPS = 256, 8  # with the candidates 16 numbers a thread: good for every p on an H200
PROGRAMS_PER_PROCESSOR = 2  # each reads the sums of all of its pool


def max_pool_weights(losses: Tensor, inside: Tensor, p: float, ratio: float) -> Tensor:
    """:func:`mmseg_balance.functional.max_pooling.max_pool_weights` of the rows of two matrices.

    Args:
        losses: ``(B, M)`` float32, one pool a row.
        inside: ``(B, M)`` bool, the pixels that count.
        p: at least 1, and finite. ratio: in (0, 1).

    Returns:
        ``(B, M)`` float32.
    """
    return _weights(losses.contiguous(), inside.contiguous(), float(p), float(ratio))


@operator('max_pool_weights')
def _weights(losses: Tensor, inside: Tensor, p: float, ratio: float) -> Tensor:
    pools, pixels = losses.shape
    hardest = p == 1
    passes = PASSES_OF_HARDEST if hardest else PASSES
    programs = programs_per_row(losses, triton.cdiv(pixels, BLOCK), PROGRAMS_PER_PROCESSOR)
    num_valid = inside.sum(1)
    sizes = dict(dtype=torch.int32, device=losses.device)
    interval = torch.empty((passes, pools, 4), **sizes)
    log_alpha = torch.empty((passes, pools), device=losses.device)
    counts = torch.empty((passes, pools, programs, CANDIDATES), **sizes)
    powers = torch.empty_like(counts, dtype=torch.float32)
    weights = torch.empty_like(losses)
    exponent = math.inf if hardest else p / (p - 1)
    shared = (losses, inside, num_valid, interval, log_alpha, counts, powers, pixels, programs)
    constants = dict(
        HARDEST=hardest,
        CANDIDATES=CANDIDATES,
        BLOCK=BLOCK,
        PROGRAMS=triton.next_power_of_2(programs),
        num_warps=WARPS,
        **COMPILER,
    )
    for turn in range(passes):
        search_kernel[programs, pools](*shared, ratio, exponent, turn, FIRST=turn == 0, **constants)
    weights_kernel[programs, pools](
        *shared,
        weights,
        pools,
        ratio,
        exponent,
        1 / p,
        passes,
        POOLS=triton.next_power_of_2(pools),
        **constants,
    )
    return weights


@shapes_of(_weights)
def _weights_shape(losses, inside, p, ratio):
    return torch.empty_like(losses)
