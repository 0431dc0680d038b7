"""Which code computes the primitives: ``MMSEG_BALANCE_BACKEND=auto``, ``eager`` or ``triton``."""
import importlib.util
import os

from torch import Tensor

try:
    from torch.compiler import is_compiling
except ImportError:  # PyTorch < 2.3 does not say: its compiler takes the loops as they are
    def is_compiling() -> bool:
        return False

CHOICES = ('auto', 'eager', 'triton')
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
        raise ValueError(f'MMSEG_BALANCE_BACKEND={value!r} is unknown: set it to '
                         f'{", ".join(CHOICES[:-1])} or {CHOICES[-1]}, or unset it.')
    if choice == 'triton' and not TRITON_INSTALLED:
        raise ValueError("MMSEG_BALANCE_BACKEND='triton' but Triton is not installed: "
                         'pip install triton, or unset the variable.')
    return choice


TRITON_INSTALLED = importlib.util.find_spec('triton') is not None
BACKEND = backend_from_environment(os.environ.get('MMSEG_BALANCE_BACKEND'))


def uses_triton(logits: Tensor) -> bool:
    """Whether the Triton kernels take these logits (float64 and very many classes never)."""
    if BACKEND == 'eager' or not TRITON_INSTALLED:
        return False
    if logits.element_size() > 4 or logits.shape[1] > MAX_CLASSES or not logits.numel():
        return False
    return logits.is_cuda or BACKEND == 'triton'
