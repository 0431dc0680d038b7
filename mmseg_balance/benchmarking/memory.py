"""What a loss keeps between forward and backward pass, and the most that a GPU had to hold."""

from collections.abc import Callable

import torch
from torch import Tensor


def saved_bytes(forward: Callable[[], Tensor], leave_out: tuple[Tensor, ...] = ()) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once.

    Args:
        forward: makes the loss.
        leave_out: tensors that are there anyway.

    Example:
        >>> x = torch.ones(8, requires_grad=True)
        >>> saved_bytes(lambda: (x * x).sum())
        32
    """
    storages = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = (storage.nbytes(), tensor)  # alive, so that no
        return tensor  # address is used twice

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
    for tensor in leave_out:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    del loss
    total = sum(size for size, _ in storages.values())
    # The graph holds ``keep``, that holds the tensors, and they hold the graph: no collector sees
    # such a ring, so it is broken here.
    storages.clear()
    return total


def cuda_peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that ``work`` took on the GPU beyond what was taken before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
