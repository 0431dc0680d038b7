"""Backward passes that autograd must not differentiate again."""

from collections.abc import Callable
from functools import wraps

import torch

from mmseg_balance.functional.backend import is_compiling


def first_order(backward: Callable) -> Callable:
    """A ``backward`` whose own derivative would be wrong, for it uses what ``forward`` computed.

    Raises:
        RuntimeError: in the backward pass, with ``create_graph=True``.
    """

    @wraps(backward)
    def checked(ctx, *grads):
        if not is_compiling() and torch.is_grad_enabled():
            raise RuntimeError(
                'this loss has no second derivative: call backward without create_graph'
            )
        return backward(ctx, *grads)

    return checked
