"""One lock file for what one process at a time may write."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None


@contextmanager
def file_lock(path: str | os.PathLike, wait: bool = True) -> Iterator[int | None]:
    """Hold the lock ``path``; a killed process releases its locks.

    Yields the open descriptor, which a child process that inherits it holds too, or None where
    another process has the lock and ``wait`` is false.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/lock'
        >>> with file_lock(path), file_lock(path, wait=False) as second:
        ...     print(second)
        None
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        yield descriptor if _take(descriptor, wait) else None
    finally:
        os.close(descriptor)


def _take(descriptor: int, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
