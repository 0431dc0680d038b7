"""The file of per-image confusion matrices of one evaluation."""

import os
from collections.abc import Sequence

import numpy as np

from mmseg_balance.runtime.atomic_files import atomic_write
from mmseg_balance.runtime.npz_files import open_npz


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
    missing = (
        f"no confusion matrices at {path}: evaluate with dict(type='ImbalanceMetric', save=…) or "
        'give the right path.'
    )
    remedy = 'remove it and evaluate again.'
    with open_npz(path, 'confusion matrices', missing, remedy) as stored:
        return stored['confusions'], stored['images'].tolist()
