"""A launch as an operator of PyTorch."""

from functools import wraps

import torch

from mmseg_balance.functional.backend import is_compiling


def operator(name: str):
    """Make a launch ``mmseg_balance::name`` for ``torch.compile`` (PyTorch >= 2.4).

    Only there: in eager mode an operator written in Python costs more time than the launch.
    """

    def register(function):
        @wraps(function)
        def launch(tensor, *args):
            with torch.cuda.device_of(tensor):  # Triton launches on the current device
                return function(tensor, *args)

        if not hasattr(torch.library, 'custom_op'):
            return launch
        compiled = torch.library.custom_op(f'mmseg_balance::{name}', launch, mutates_args=())

        @wraps(function)
        def call(*args):
            return compiled(*args) if is_compiling() else launch(*args)

        call.register_fake = compiled.register_fake
        return call

    return register


def shapes_of(function):
    """How the compiler learns an operator's output shapes without running it."""
    return getattr(function, 'register_fake', lambda fake: fake)
