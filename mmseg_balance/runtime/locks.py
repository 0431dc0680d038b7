"""One lock file for what one process at a time may write."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None

SECONDS_PER_LOOK = 0.5


@contextmanager
def file_lock(
    path: str | os.PathLike, wait: bool = True, while_waiting: Callable[[], None] = lambda: None
) -> Iterator[int | None]:
    """Hold the lock ``path``; a killed process releases its locks.

    Yields the open descriptor, which a child process that inherits it holds too, or None where
    another process has the lock and ``wait`` is false.

    Args:
        path: Of the file; missing folders are made.
        wait: For another process that has the lock.
        while_waiting: Called now and then meanwhile; what it raises ends the wait.

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
        yield descriptor if _take(descriptor, wait, while_waiting) else None
    finally:
        os.close(descriptor)


def _take(descriptor: int, wait: bool, while_waiting: Callable[[], None]) -> bool:
    while fcntl is not None:
        try:
            # Never a wait inside the system call: a thread could not be told to end.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if not wait:
                return False
        while_waiting()
        time.sleep(SECONDS_PER_LOOK)
    return True
