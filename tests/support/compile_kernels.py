"""Compiles the Triton kernels for a GPU that is not here.

    MMSEG_BALANCE_BACKEND=triton python -m tests.support.compile_kernels 90

Triton's interpreter forgives what its compiler refuses, and never runs out of registers. Nothing
is launched; the functions run on garbage, and what they ask for is compiled to machine code for the
compute capability given.
"""

import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from mmseg_balance.functional.labels import sum_by_label
from mmseg_balance.functional.max_pooling import max_pool_weights
from mmseg_balance.functional.primitives import overlap_sums, pixel_nll, pixel_nll_and_overlap_sums

MAX_STACK = 16  # bytes a thread


class AbsentGPU:
    """As much of a driver as the compiler asks."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget('cuda', capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def stack_bytes(machine_code: bytes) -> int:
    """What a thread keeps in memory for want of registers, by NVIDIA's own tool beside Triton."""
    tool = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'
    with NamedTemporaryFile(suffix='.cubin') as file:
        file.write(machine_code)
        file.flush()
        report = subprocess.run(
            [tool, '-res-usage', file.name], capture_output=True, text=True, check=True
        ).stdout
    return int(re.search(r'STACK:(\d+)', report)[1])


def compile_in_place_of_launching() -> Counter:
    """Counts the variants of each kernel that machine code was made for."""
    variants, run = Counter(), JITFunction.run

    def compile_only(self, *args, **kwargs):
        kernel = run(self, *args, **{**kwargs, 'warmup': True})
        spilled = stack_bytes(kernel.asm['cubin'])
        assert spilled <= MAX_STACK, f'{self.fn.__name__} spills {spilled} bytes: {kwargs}'
        variants[self.fn.__name__] += 1

    JITFunction.run = compile_only
    return variants


def call_functions() -> None:
    """Every kernel, with the dtypes, class counts, powers, weights and strides that matter."""
    labels = torch.zeros(2, 16, 32, dtype=torch.long)
    for dtype, classes, align_corners in itertools.product(
        (torch.float32, torch.bfloat16), (2, 150), (None, False)
    ):
        size = (16, 32) if align_corners is None else (4, 8)
        logits = torch.zeros(2, classes, *size, dtype=dtype, requires_grad=True)
        pixel_nll(logits, labels, align_corners=align_corners).sum().backward()
        for power, weight in ((1, None), (2, None), (1.5, torch.ones(2, 16, 32))):
            intersection, predicted, _ = overlap_sums(
                logits, labels, power=power, pixel_weight=weight, align_corners=align_corners
            )
            (intersection + predicted).sum().backward()
        nll, sums = pixel_nll_and_overlap_sums(logits, labels, power=2, align_corners=align_corners)
        (nll.sum() + sums[0].sum()).backward()
    for classes, values in itertools.product((2, 1024), (labels == 0, torch.zeros(2, 16, 32))):
        sum_by_label(values, labels, classes)
    for p in (1, 1.3):
        max_pool_weights(torch.zeros(2, 16, 32), labels == 0, p)
    for dtype in (torch.float32, torch.float16):
        channels_last = torch.zeros(2, 16, 32, 19, dtype=dtype).movedim(-1, 1).requires_grad_()
        pixel_nll(channels_last, labels).sum().backward()
        sum(part.sum() for part in overlap_sums(channels_last, labels, power=2)).backward()


if __name__ == '__main__':
    driver.set_active(AbsentGPU(int(sys.argv[1])))
    counted = compile_in_place_of_launching()
    call_functions()
    print(dict(counted))
