"""Sums of values by label on a GPU."""

import torch
from torch import Tensor

from mmseg_balance.functional.primitives.triton import overlap_kernels
from mmseg_balance.functional.primitives.triton.blocks import sums_block, sums_programs
from mmseg_balance.functional.primitives.triton.operators import operator, shapes_of
from mmseg_balance.functional.primitives.triton.tiles import COMPILER


@operator('label_sums')
def label_sums(values: Tensor, labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """:func:`mmseg_balance.functional.labels.sum_by_label` in float32, ``(N, C)``."""
    values, labels = values.contiguous(), labels.long().contiguous()
    block = sums_block(num_classes, labels)
    programs = sums_programs(values, labels, block)
    sums = torch.empty((len(labels), programs, num_classes), device=values.device)
    overlap_kernels.label_sums_kernel[programs, len(labels)](
        values, labels, sums, num_classes, labels[0].numel(), ignore_index, **block, **COMPILER
    )
    return sums.sum(1, dtype=torch.float64).float()


@shapes_of(label_sums)
def _label_sums_output(values, labels, num_classes, ignore_index):
    return values.new_empty((len(labels), num_classes), dtype=torch.float32)
