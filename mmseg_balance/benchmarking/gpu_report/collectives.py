"""NCCL: reductions of this package, a loss under DistributedDataParallel, and what they take.

Started by ``torchrun``; the dry run uses gloo.
"""

import os
import time

import torch
import torch.distributed as dist
from mmseg.registry import MODELS
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmseg_balance.benchmarking.batches import training_batch
from mmseg_balance.benchmarking.gpu_report.section_file import run_section
from mmseg_balance.functional.distributed import sum_over_ranks

CLASSES = 19


def measure(dry_run: bool) -> list[dict]:
    """Rows of what was checked and its milliseconds; only the first rank's are kept."""
    rank = int(os.environ['LOCAL_RANK'])
    device = 'cpu' if dry_run else f'cuda:{rank}'
    if not dry_run:
        torch.cuda.set_device(rank)
    dist.init_process_group('gloo' if dry_run else 'nccl')
    try:
        rows = [
            _row('sum_over_ranks of 150 numbers', lambda: _sum(device), dry_run),
            _row('SoftDiceLoss, one DDP step', lambda: _step(device, dry_run), dry_run),
        ]
        dist.barrier()
    finally:
        dist.destroy_process_group()
    if rank:
        raise SystemExit(0)
    return [dict(title=f'{os.environ["WORLD_SIZE"]} processes', rows=rows)]


def _row(name: str, check, dry_run: bool) -> dict:
    check()  # the first call connects the ranks and compiles
    started = time.perf_counter()
    check()
    if not dry_run:
        torch.cuda.synchronize()
    return {'what': name, 'result': 'right', 'ms': (time.perf_counter() - started) * 1e3}


def _sum(device: str) -> None:
    """Of rank + 1 over n ranks: n (n + 1) / 2."""
    ranks = dist.get_world_size()
    total = sum_over_ranks(torch.full((150,), dist.get_rank() + 1.0, device=device))
    expected = torch.full_like(total, ranks * (ranks + 1) / 2)
    torch.testing.assert_close(total, expected)


def _step(device: str, dry_run: bool) -> None:
    """Equal gradients on all ranks, and where all have the same images those of one process."""
    size = 16 if dry_run else 128
    _, labels = training_batch((2, CLASSES, size, size), device)
    torch.manual_seed(0)
    images = torch.randn(2, 3, size, size, device=device)
    loss_of = MODELS.build(dict(type='SoftDiceLoss')).to(device)
    net = nn.Conv2d(3, CLASSES, 3, padding=1).to(device)
    alone = nn.Conv2d(3, CLASSES, 3, padding=1).to(device)
    alone.load_state_dict(net.state_dict())
    loss_of(alone(images), labels, ignore_index=255).backward()
    wrapped = DistributedDataParallel(net, device_ids=None if dry_run else [device])
    loss_of(wrapped(images), labels, ignore_index=255).backward()
    torch.testing.assert_close(net.weight.grad, alone.weight.grad, rtol=1e-3, atol=1e-5)


if __name__ == '__main__':
    run_section('collectives', measure)
