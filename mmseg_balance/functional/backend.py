"""Which code computes the primitives: ``MMSEG_BALANCE_BACKEND=auto``, ``eager`` or ``triton``."""

import importlib.util
import os
from importlib import metadata

from torch import Tensor

try:
    from torch.compiler import is_compiling
except ImportError:  # before PyTorch 2.3 its compiler knows it by this name
    from torch._utils import is_compiling  # noqa: F401

CHOICES = ('auto', 'eager', 'triton')
MIN_TRITON = 3
MAX_CLASSES = 1024  # what the kernels hold in registers; more classes take the eager way


def backend_from_environment(value: str | None) -> str:
    """The backend that the environment variable names, ``auto`` if it is not set.

    Args:
        value: ``auto`` (Triton for logits on a GPU, if it is installed), ``eager`` (never) or
            ``triton`` (always; on a CPU that takes Triton's interpreter, for tests).

    Raises:
        ValueError: another value, or ``triton`` where Triton is not installed.

    Example:
        >>> backend_from_environment(None)
        'auto'
    """
    choice = value or 'auto'
    if choice not in CHOICES:
        raise ValueError(
            f'MMSEG_BALANCE_BACKEND={value!r} is unknown: set it to '
            f'{", ".join(CHOICES[:-1])} or {CHOICES[-1]}, or unset it.'
        )
    if choice == 'triton' and not TRITON_USABLE:
        raise ValueError(
            f"MMSEG_BALANCE_BACKEND='triton' but Triton {MIN_TRITON} or later is not "
            f"installed: pip install 'triton>={MIN_TRITON}', or unset the variable."
        )
    return choice


def triton_is_usable() -> bool:
    """Whether Triton is there, and as new as the kernels need it."""
    if importlib.util.find_spec('triton') is None:
        return False
    for name in ('triton', 'pytorch-triton', 'triton-windows'):
        try:
            return int(metadata.version(name).split('.')[0]) >= MIN_TRITON
        except metadata.PackageNotFoundError:
            continue
    return True


TRITON_USABLE = triton_is_usable()
BACKEND = backend_from_environment(os.environ.get('MMSEG_BALANCE_BACKEND'))


def uses_triton(logits: Tensor) -> bool:
    """Whether the Triton kernels take these logits (float64 and very many classes never)."""
    return logits.shape[1] <= MAX_CLASSES and kernels_take(logits)


def kernels_take(values: Tensor) -> bool:
    """Whether there are Triton kernels for values of this device and dtype (float64 never)."""
    if BACKEND == 'eager' or not TRITON_USABLE:
        return False
    if values.element_size() > 4 or not values.numel():
        return False
    return values.is_cuda or BACKEND == 'triton'
