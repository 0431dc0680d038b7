"""Safe checkpoint loading: a file that could run code is refused.

``data_unpickler`` says what a checkpoint may contain; here every way to a checkpoint goes through it.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.error import URLError
from zipfile import is_zipfile

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from packaging.version import Version
from torch import nn

from mmseg_balance.runtime.data_unpickler import DATA_PICKLE, STAND_INS, rebuild

# PyTorch's own switch, so that it means the same under MMSegmentation's stock scripts.
TRUST_VARIABLE = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message names the file and the remedy."""


class UntrustedCheckpointError(CheckpointError):
    """The file asks for a function or class that data alone never needs."""


class UnreadableCheckpointError(CheckpointError):
    """The file is truncated, damaged, or no checkpoint at all."""


def takes_stand_ins() -> bool:
    """Whether this PyTorch's ``weights_only`` accepts a stand-in under another name."""
    return Version(torch.__version__).release >= (2, 6)


def _explain(filename: str, error: Exception) -> CheckpointError:
    found = re.search(r'GLOBAL (\S+)', str(error))
    if found or 'unrecognized function' in str(error) or 'Can only' in str(error):
        name = found.group(1) if found else 'an unknown function'
        return UntrustedCheckpointError(
            f'{filename} was refused: it asks for {name}, which data alone never needs and which '
            'can run code while the file is read; if you trust whoever wrote it, set '
            f'{TRUST_VARIABLE}=1 (train and test: add --trust-checkpoint)'
        )
    return UnreadableCheckpointError(
        f'{filename} is not a readable checkpoint ({_reason(filename, error)}): it may be truncated or '
        'damaged, so use an earlier one'
    )


def _reason(filename: str, error: Exception) -> str:
    """Why a file cannot be read; an unpickler's own words on a damaged one tell nothing."""
    if os.path.isfile(filename) and not os.path.getsize(filename):
        return 'it is empty'
    if isinstance(error, OSError):
        return 'it ends too early'
    if 'PytorchStreamReader' in str(error):
        return str(error).strip().splitlines()[0].partition('. This')[0]
    return 'its content is damaged' if is_zipfile(filename) else 'it is no PyTorch file'


@contextmanager
def _allowing_stand_ins() -> Iterator[None]:
    """Within it PyTorch's allow-list has the stand-ins, and no other object under their names.

    The fork onedl-mmengine allows the real ``getattr`` and ``numpy.dtype`` while it loads.
    """
    before = torch.serialization.get_safe_globals()
    others = [entry for entry in before if _global_name(entry) not in STAND_INS]
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(
        [*others, *((stand_in, name) for name, stand_in in STAND_INS.items())]
    )
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _global_name(entry: Any) -> str:
    """The name under which an entry of PyTorch's allow-list is found."""
    return entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'


def _unpickle(torch_load: Callable, file: Any, map_location: Any, options: dict) -> Any:
    if takes_stand_ins():
        with _allowing_stand_ins():
            return torch_load(file, map_location, weights_only=True, **options)
    return torch_load(file, map_location, pickle_module=DATA_PICKLE, weights_only=False, **options)


def _safe_load(torch_load: Callable, filename: str) -> Callable:
    """``torch.load`` with unpickling restricted, whatever its caller asks for."""

    @wraps(torch_load)
    def load(file: Any, map_location: Any = None, **options: Any) -> Any:
        options.pop('pickle_module', None)
        options.pop('weights_only', None)
        try:
            return rebuild(_unpickle(torch_load, file, map_location, options))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # PyTorch looks for the end of a zip file before its beginning.
            raise _explain(filename, error) from None
        except MemoryError:
            raise
        except RuntimeError as error:  # also a lack of device memory, which is no fault of the file
            if 'PytorchStreamReader' not in str(error):
                raise
            raise _explain(filename, error) from None
        except Exception as error:  # a damaged pickle may fail in any way
            raise _explain(filename, error) from None

    return load


@contextmanager
def safe_loading(filename: str) -> Iterator[None]:
    """Within it ``torch.load`` reads data only, for code that cannot be told to.

    Raises:
        CheckpointError: what is read asks for more, or is damaged; names ``filename``.
    """
    original = torch.load
    torch.load = _safe_load(original, filename)
    try:
        yield
    finally:
        torch.load = original


def is_trusted() -> bool:
    """Whether the user has chosen to unpickle checkpoints without restriction."""
    return os.environ.get(TRUST_VARIABLE, '0').lower() in ('1', 'y', 'yes', 'true')


def trust_checkpoints() -> None:
    """Unpickle this run's checkpoints without restriction: whoever wrote them can run code."""
    os.environ[TRUST_VARIABLE] = '1'


@contextmanager
def _reachable(filename: str) -> Iterator[None]:
    """Name the checkpoint that cannot be downloaded."""
    try:
        yield
    except (URLError, ConnectionError, TimeoutError) as error:
        raise CheckpointError(
            f'{filename} cannot be downloaded ({getattr(error, "reason", None) or error}): look at the '
            'address and the network, or give a local file'
        ) from error


def guard(load_checkpoint: Callable) -> Callable:
    """Wrap ``CheckpointLoader.load_checkpoint`` so that every scheme (file, http, …) is covered."""

    @wraps(load_checkpoint)
    def guarded(cls, filename, map_location=None, logger='current'):
        with nullcontext() if is_trusted() else safe_loading(filename), _reachable(filename):
            return load_checkpoint(cls, filename, map_location, logger)

    guarded.loads_safely = True
    return guarded


def guard_mmengine() -> None:
    """Make everything that goes through MMEngine's checkpoint loader safe; twice is once."""
    current = CheckpointLoader.__dict__['load_checkpoint'].__func__
    if not getattr(current, 'loads_safely', False):
        CheckpointLoader.load_checkpoint = classmethod(guard(current))


def check_there(checkpoint: str) -> None:
    """See that a local checkpoint exists.

    Raises:
        CheckpointError: there is none of this name.
    """
    if '://' not in checkpoint and not Path(checkpoint).expanduser().is_file():
        raise CheckpointError(
            f'there is no checkpoint {checkpoint}: training writes them into its work directory, and '
            'last_checkpoint there names the latest'
        )


def check_fit(
    model: nn.Module, checkpoint: str, weights: Mapping[str, torch.Tensor] | None = None
) -> None:
    """See that a checkpoint has every weight that a prediction of ``model`` needs.

    MMEngine only warns, and tests what has its initial weights. Buffers are left out: those of a
    loss need not be in the checkpoint of a training with another one.

    Args:
        model: the segmentor.
        checkpoint: file or URL.
        weights: what :func:`read_weights` found in it, if it is read already.

    Raises:
        CheckpointError: it lacks a weight, or has one of another shape.
    """
    given = read_weights(checkpoint)[0] if weights is None else weights
    own = {
        re.sub(r'^(module\.)+', '', name): tuple(value.shape)  # wrapped, or averaged over views
        for name, value in model.named_parameters()
        if 'auxiliary_head' not in name
    }
    wrong = [
        name
        for name, shape in own.items()
        if shape != tuple(getattr(given.get(name), 'shape', (-1,)))
    ]
    if wrong:
        found = given.get(wrong[0])
        what = 'lacks it' if found is None else f'has one of shape {tuple(found.shape)}'
        raise CheckpointError(
            f'{checkpoint} is not a checkpoint of this config: the model has {wrong[0]} of shape {own[wrong[0]]} and '
            f'the checkpoint {what} ({len(wrong)} of {len(own)} weights differ); give the config that it was trained with'
        )


def read_weights(checkpoint: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Weights and meta of a checkpoint, a file or URL; ``module.`` of a wrapped model is left out.

    Raises:
        CheckpointError: there is no such file, or it holds something else.
    """
    check_there(checkpoint)
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    weights = content.get('state_dict', content) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise CheckpointError(
            f'{checkpoint} holds no weights: give a checkpoint that training wrote, or a file with a '
            'dict of names and tensors'
        )
    weights = {name.removeprefix('module.'): value for name, value in weights.items()}
    return weights, dict(content.get('meta') or {})
