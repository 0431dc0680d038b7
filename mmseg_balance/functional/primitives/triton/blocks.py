"""How a launch cuts its work: the tile of a program, its warps, and the number of programs.

Registers decide the tile (`docs/kernels.md`), times on an H200 the warps (`docs/benchmarks.md`).
"""

import torch
import triton
from torch import Tensor

NLL_BLOCK_P = 512  # 128 threads, four pixels each: 16-byte loads of float32
NLL_BLOCK_C = 8
WARPS_PER_PROCESSOR = 32  # of sums: enough to fill the GPU, few enough to keep the sums small
PROGRAMS_IN_INTERPRETER = 3


def nll_block(logits: Tensor, align_corners: bool | None) -> dict:
    """Fewer pixels where addresses take registers: interpolated, and channels-last logits."""
    pixels = NLL_BLOCK_P if align_corners is None else NLL_BLOCK_P // 2
    if logits.stride(1) == 1:
        pixels = NLL_BLOCK_P // 4
    return dict(BLOCK_C=NLL_BLOCK_C, BLOCK_P=pixels, num_warps=4)


def overlap_block(num_classes: int, upsampled: bool = False) -> dict:
    """All classes of a few pixels: at most 32 logits a thread, 16 where addresses take registers.

    Up to 32 classes a program is one warp: no barrier, and few shuffles between threads.

    Example:
        >>> overlap_block(19), overlap_block(150)['BLOCK_P']
        ({'BLOCK_C': 32, 'BLOCK_P': 32, 'num_warps': 1}, 16)
    """
    classes = max(triton.next_power_of_2(num_classes), 4)
    warps = 1 if classes <= 32 else min(16, max(4, classes // 32))
    logits_per_thread = 16 if upsampled or classes in (256, 512) else 32
    pixels = 32 * warps * logits_per_thread // classes
    return dict(BLOCK_C=classes, BLOCK_P=min(512, pixels), num_warps=warps)


def sums_block(num_classes: int, labels: Tensor, upsampled: bool = False) -> dict:
    """:func:`overlap_block`, and how many neighbouring pixels a thread of it holds.

    Four where pixels are loaded by fours; of unaligned rows neighbours lie in other threads.
    """
    aligned = labels[0].numel() % 4 == 0
    return dict(overlap_block(num_classes, upsampled), GROUP=4 if aligned else 1)


def sums_programs(values: Tensor, labels: Tensor, block: dict) -> int:
    """Programs an image: as many warps on each processor, whatever a program has of them."""
    blocks = triton.cdiv(labels[0].numel(), block['BLOCK_P'])
    return programs_per_row(values, blocks, WARPS_PER_PROCESSOR // block['num_warps'])


def programs_per_row(values: Tensor, blocks: int, per_processor: int) -> int:
    """Programs an image or pool: each goes through several blocks of pixels before it reduces."""
    if not values.is_cuda:
        return min(blocks, PROGRAMS_IN_INTERPRETER)
    processors = torch.cuda.get_device_properties(values.device).multi_processor_count
    return min(blocks, triton.cdiv(processors * per_processor, len(values)))
