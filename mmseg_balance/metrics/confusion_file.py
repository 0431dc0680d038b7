"""The file of per-image confusion matrices of one evaluation."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmseg_balance.runtime.atomic_files import atomic_write


def save_confusions(
    path: str | os.PathLike, confusions: np.ndarray, names: Sequence[str], classes: Sequence[str]
) -> None:
    """Write one compressed ``.npz`` without pickles, completely or not at all.

    Convention: the counts have the smallest unsigned integer type that holds the largest of them.

    Args:
        path: Where; missing folders are made.
        confusions: ``(images, C, C)`` counts, rows are labels and columns predictions.
        names: ``(images,)`` names of the images.
        classes: ``(C,)`` names of the classes.

    Raises:
        ValueError: lengths that do not fit.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/test.npz'
        >>> save_confusions(path, np.array([[[300, 0], [1, 2]]]), ['a.jpg'], ['road', 'car'])
        >>> confusions, names = load_confusions(path)
        >>> confusions.tolist(), confusions.dtype, names
        ([[[300, 0], [1, 2]]], dtype('uint16'), ['a.jpg'])
    """
    expected = (len(names), len(classes), len(classes))
    if confusions.shape != expected:
        raise ValueError(
            f'confusions has shape {confusions.shape} for {len(names)} names and {len(classes)} '
            f'classes; it must be {expected}.'
        )
    compact = confusions.astype(np.min_scalar_type(int(confusions.max(initial=0))))
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            confusions=compact,
            images=np.array(names, np.str_),
            classes=np.array(classes, np.str_),
        )


def load_confusions(path: str | os.PathLike) -> tuple[np.ndarray, list[str]]:
    """Read the matrices ``(images, C, C)`` and the image names that :func:`save_confusions` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another kind of file, or damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'no confusion matrices at {path}: evaluate with '
            "dict(type='ImbalanceMetric', save=…) or give the right path."
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored['confusions'], stored['images'].tolist()
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'{path} is not a file of confusion matrices ({error}); remove it and evaluate again.'
        ) from error
