"""The ``.npz`` file of class statistics, without pickles: written whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmseg_balance.runtime.atomic_files import atomic_write
from mmseg_balance.runtime.npz_files import open_npz

FORMAT_VERSION = 1
ARRAYS = ('indptr', 'indices', 'counts', 'ignored')
_REMEDY = 'remove it and run mmseg-balance class_stats again'


def write_statistics_file(path: str | os.PathLike, header: Mapping, **arrays: np.ndarray) -> Path:
    """Write ``header``, as JSON, and ``arrays``."""
    header = {'format': FORMAT_VERSION, **header}
    with atomic_write(path) as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)
    return Path(path)


def read_statistics_file(path: str | os.PathLike) -> tuple[dict, dict[str, np.ndarray]]:
    """The header and the arrays named in ``ARRAYS``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no statistics file, or one of another version.
    """
    missing = (
        f'no class statistics at {path}: make them with mmseg-balance class_stats CONFIG '
        f"--out {path}, or write statistics='auto'"
    )
    with open_npz(path, 'class statistics', missing, _REMEDY) as stored:
        header = dict(json.loads(str(stored['header'])))
        arrays = {name: stored[name] for name in ARRAYS}
    if header.get('format') != FORMAT_VERSION:
        raise ValueError(
            f'{path} has format {header.get("format")}, this version reads '
            f'{FORMAT_VERSION}; {_REMEDY}'
        )
    return header, arrays
