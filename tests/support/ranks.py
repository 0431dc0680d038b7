"""Run a function in several processes that talk through Gloo, as distributed training does."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmseg_balance.runtime.cpu import leave_processes_on_cpu


def _run_rank(rank: int, function: Callable, world_size: int, folder: str, args: tuple) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size
    )
    torch.save(function(rank, *args), f'{folder}/{rank}.pt')
    dist.barrier()
    # As the launched scripts end: Gloo's threads must not meet an interpreter that shuts down.
    leave_processes_on_cpu()


def run_ranks(function: Callable, world_size: int, *args: Any) -> list[Any]:
    """Call ``function(rank, *args)`` in ``world_size`` processes; what each returned, by rank.

    ``function`` must be at the top of a module, and what it returns tensors and plain values.
    """
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_run_rank, (function, world_size, folder, args), nprocs=world_size)
        return [torch.load(Path(folder, f'{rank}.pt')) for rank in range(world_size)]
