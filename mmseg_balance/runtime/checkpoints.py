"""Checkpoints are read as data: a file that could run code is refused.

A PyTorch checkpoint is a pickle, and a pickle names the functions that rebuild it. MMEngine's own
training checkpoints name ``getattr``, ``numpy.dtype`` and ``HistoryBuffer``, which PyTorch's
``weights_only`` refuses, and none of which is safe to allow: with ``getattr`` a file can reach any
function, and a forged ``numpy.dtype`` state makes NumPy read raw bytes as object pointers. So each
of these names is mapped to a stand-in that takes plain numbers, checks them, and nothing else; the
real objects are built from those numbers after the file has been read.
"""

import _compat_pickle
import os
import pickle
import re
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from packaging.version import Version
from torch import _weights_only_unpickler

# PyTorch's own switch, so that it means the same under MMSegmentation's stock scripts.
TRUST_VARIABLE = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'

_PLAIN_DTYPE = re.compile(r'[biufcSU]\d+')


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message names the file and the remedy."""


class UntrustedCheckpointError(CheckpointError):
    """The file asks for a function or class that data alone never needs."""


class UnreadableCheckpointError(CheckpointError):
    """The file is truncated, damaged, or no checkpoint at all."""


def _refusal(name: str) -> pickle.UnpicklingError:
    # In PyTorch's own words, so that one place reads both.
    return pickle.UnpicklingError(f'Unsupported global: GLOBAL {name}')


class _Dtype:
    """Stand-in for ``numpy.dtype``: numbers and strings of fixed size, in either byte order."""

    def __init__(self, spec: Any, align: bool = False, copy: bool = False) -> None:
        if not isinstance(spec, str) or not _PLAIN_DTYPE.fullmatch(spec):
            raise _refusal(f'numpy.dtype({spec!r})')
        self.value = np.dtype(spec)

    def __setstate__(self, state: tuple) -> None:
        # Of a dtype's state only the byte order can matter for a plain number.
        if state[1] in ('<', '>'):
            self.value = self.value.newbyteorder(state[1])

    def rebuild(self) -> np.dtype:
        return self.value


class _Array:
    """Stand-in for ``numpy.ndarray``: raw bytes of a plain dtype, never objects."""

    value: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise _refusal('numpy.ndarray of objects')
        order = 'F' if fortran else 'C'
        self.value = np.frombuffer(raw, dtype.value).reshape(shape, order=order).copy(order)

    def rebuild(self) -> np.ndarray:
        return self.value


class _History:
    """Stand-in for ``HistoryBuffer``: two arrays and a length; its methods come from MMEngine."""

    def __setstate__(self, state: dict) -> None:
        self.values = state['_log_history']
        self.counts = state['_count_history']
        self.max_length = int(state['max_length'])

    def rebuild(self) -> HistoryBuffer:
        return HistoryBuffer(_rebuild(self.values), _rebuild(self.counts), self.max_length)


def _empty_array(cls: type, shape: tuple, typecode: bytes) -> _Array:
    if cls is not _Array:
        raise _refusal('numpy.ndarray of another class')
    return _Array()


def _scalar(dtype: _Dtype, raw: bytes) -> np.generic:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        raise _refusal('numpy scalar of an object')
    return np.frombuffer(raw, dtype.value)[0]


def _latin1(text: str, encoding: str) -> bytes:
    # How protocol 2 writes bytes, those of a numpy array among them.
    if encoding != 'latin1':
        raise _refusal(f'encode(…, {encoding!r})')
    return text.encode('latin1')


def _config_dict(items: dict) -> ConfigDict:
    return ConfigDict(items)


def _method_name(owner: Any, name: str) -> str:
    # A HistoryBuffer pickles its own methods, as getattr(HistoryBuffer, 'mean') and the like.
    if owner is not _History:
        raise _refusal(f'getattr(…, {name!r})')
    return name


STAND_INS: dict[str, Callable] = {
    'builtins.getattr': _method_name,
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    'mmengine.config.config.ConfigDict': _config_dict,
    'numpy.dtype': _Dtype,
    'numpy.ndarray': _Array,
    # NumPy 2 renamed numpy.core; files written with either are read with either.
    'numpy.core.multiarray._reconstruct': _empty_array,
    'numpy._core.multiarray._reconstruct': _empty_array,
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
}


class _DataUnpickler(pickle._Unpickler):
    """The same rules for PyTorch < 2.6, whose ``weights_only`` takes no stand-ins.

    The pure-Python unpickler, since in the C one a file may set attributes of the allowed classes.
    """

    def find_class(self, module: str, name: str) -> Any:
        # Protocol 2, PyTorch's, writes the names that Python 2 had: __builtin__ for builtins.
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        allowed = {
            **_weights_only_unpickler._get_allowed_globals(),
            **STAND_INS,
            '_codecs.encode': _latin1,
        }  # newer PyTorch allows the real one
        try:
            return allowed[f'{module}.{name}']
        except KeyError:
            raise _refusal(f'{module}.{name}') from None

    def load_build(self) -> None:
        target = self.stack[-2]
        if not isinstance(target, (_Dtype, _Array, _History, torch.Tensor, dict)):
            raise _refusal(f'{type(target).__name__}')
        super().load_build()

    dispatch = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


def _load_data(file: Any, **options: Any) -> Any:
    return _DataUnpickler(file, **options).load()


_DATA_PICKLE = types.SimpleNamespace(
    Unpickler=_DataUnpickler, load=_load_data, __name__=f'{__name__}._DATA_PICKLE'
)


def takes_stand_ins() -> bool:
    """Whether this PyTorch's ``weights_only`` accepts a stand-in under another name."""
    return Version(torch.__version__).release >= (2, 6)


def _rebuild(value: Any) -> Any:
    """Replace every stand-in by what it stands for; containers are changed in place."""
    if isinstance(value, (_Dtype, _Array, _History)):
        return value.rebuild()
    if isinstance(value, dict):
        for key in value:
            value[key] = _rebuild(value[key])
    elif isinstance(value, list):
        value[:] = [_rebuild(item) for item in value]
    elif type(value) is tuple:
        return tuple(_rebuild(item) for item in value)
    return value


def _explain(filename: str, error: Exception) -> CheckpointError:
    found = re.search(r'GLOBAL (\S+)', str(error))
    if found or 'unrecognized function' in str(error) or 'Can only' in str(error):
        name = found.group(1) if found else 'an unknown function'
        return UntrustedCheckpointError(
            f'{filename} was refused: it asks for {name}, which data alone never needs and which '
            'can run code while the file is read; if you trust whoever wrote it, add '
            f'--trust-checkpoint (or set {TRUST_VARIABLE}=1 for other scripts)'
        )
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return UnreadableCheckpointError(
        f'{filename} is not a readable checkpoint ({reason}): it may be truncated or damaged, so use an earlier one'
    )


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
    return torch_load(file, map_location, pickle_module=_DATA_PICKLE, weights_only=False, **options)


def _safe_load(torch_load: Callable, filename: str) -> Callable:
    """``torch.load`` with unpickling restricted, whatever its caller asks for."""

    @wraps(torch_load)
    def load(file: Any, map_location: Any = None, **options: Any) -> Any:
        options.pop('pickle_module', None)
        options.pop('weights_only', None)
        try:
            return _rebuild(_unpickle(torch_load, file, map_location, options))
        except (OSError, MemoryError):
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


def guard(load_checkpoint: Callable) -> Callable:
    """Wrap ``CheckpointLoader.load_checkpoint`` so that every scheme (file, http, …) is covered."""

    @wraps(load_checkpoint)
    def guarded(cls, filename, map_location=None, logger='current'):
        if is_trusted():
            return load_checkpoint(cls, filename, map_location, logger)
        with safe_loading(filename):
            return load_checkpoint(cls, filename, map_location, logger)

    guarded.loads_safely = True
    return guarded


def guard_mmengine() -> None:
    """Make everything that goes through MMEngine's checkpoint loader safe; twice is once."""
    current = CheckpointLoader.__dict__['load_checkpoint'].__func__
    if not getattr(current, 'loads_safely', False):
        CheckpointLoader.load_checkpoint = classmethod(guard(current))
