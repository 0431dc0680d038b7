"""``.npz`` files of ours, read without pickles."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile


@contextmanager
def open_npz(path: str | os.PathLike, content: str, missing: str, remedy: str) -> Iterator[NpzFile]:
    """The arrays of a file, to be read inside the ``with``.

    Args:
        path: where.
        content: what the file should hold, for the error.
        missing: what to say if there is no such file.
        remedy: what to do about a file that is damaged or of another kind.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except FileNotFoundError:
        raise FileNotFoundError(missing) from None
    except Exception as error:  # a damaged archive raises whatever its decoders do
        if Path(path).suffix != '.npz':  # another file of the user's, which is not to be removed
            raise ValueError(
                f'{path} is not a file of {content}: give one that ends in .npz'
            ) from error
        # NumPy takes what it does not know for a pickle, and says how to load that.
        reason = 'no archive of arrays' if 'pickle' in str(error) else error
        raise ValueError(f'{path} is not a file of {content} ({reason}); {remedy}') from error
