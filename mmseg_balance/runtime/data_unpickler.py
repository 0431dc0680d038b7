"""The pickle of a checkpoint, rebuilt from plain numbers alone.

A PyTorch checkpoint is a pickle, and a pickle names the functions that rebuild it. MMEngine's own
training checkpoints name ``getattr``, ``numpy.dtype`` and ``HistoryBuffer``, which PyTorch's
``weights_only`` refuses, and none of which is safe to allow: with ``getattr`` a file can reach any
function, and a forged ``numpy.dtype`` state makes NumPy read raw bytes as object pointers. So each
of these names is mapped to a stand-in that takes plain numbers, checks them, and nothing else; the
real objects are built from those numbers after the file has been read.
"""

import _compat_pickle
import pickle
import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from torch import _weights_only_unpickler

_PLAIN_DTYPE = re.compile(r'[biufcSU]\d+')


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
        return HistoryBuffer(rebuild(self.values), rebuild(self.counts), self.max_length)


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


DATA_PICKLE = types.SimpleNamespace(
    Unpickler=_DataUnpickler, load=_load_data, __name__=f'{__name__}.DATA_PICKLE'
)


def rebuild(value: Any) -> Any:
    """Replace every stand-in by what it stands for; containers are changed in place."""
    if isinstance(value, (_Dtype, _Array, _History)):
        return value.rebuild()
    if isinstance(value, dict):
        for key in value:
            value[key] = rebuild(value[key])
    elif isinstance(value, list):
        value[:] = [rebuild(item) for item in value]
    elif type(value) is tuple:
        return tuple(rebuild(item) for item in value)
    return value
