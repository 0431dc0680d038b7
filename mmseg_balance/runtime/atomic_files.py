"""Files that are whole or not there at all, whenever the process ends."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmengine.fileio import LocalBackend, register_backend

PARTIAL = '.partial'


class DiskFullError(OSError):
    """There was no room for a file; what stood in its place is untouched."""

    def __str__(self) -> str:
        return self.strerror


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write, which takes its name only when it is complete and on the disk.

    Every writer has a file of its own, so two at once cannot mix; an interrupted one leaves what
    was there before.

    Args:
        path: where the file is to be; missing folders are made.

    Raises:
        DiskFullError: no space left; says how to go on.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with atomic_write(f'{folder}/a.txt') as file:
        ...     _ = file.write(b'whole')
        >>> Path(folder, 'a.txt').read_bytes(), len(os.listdir(folder))
        (b'whole', 1)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}')
    with explain_full_disk(path):
        try:
            with partial.open('xb') as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file by :func:`atomic_write`, in UTF-8."""
    with atomic_write(path) as file:
        file.write(text.encode())


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk too; not every file system can be asked for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def explain_full_disk(path: str | os.PathLike) -> Iterator[None]:
    """Turn the system's error for a full disk, or a used-up quota, into a sentence.

    Raises:
        DiskFullError: no space left for ``path``.
    """
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            error.errno,
            f'the disk is full and {path} was not written, the files before it are '
            'untouched: free some space, then run the same command again (train: with --resume)',
        ) from error


def remove_partial_files(folder: str | os.PathLike) -> int:
    """Delete what writers killed in the middle left behind; how many there were."""
    leftovers = list(Path(folder).glob(f'*{PARTIAL}'))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


class AtomicBackend(LocalBackend):
    """MMEngine's local files, written whole: ``backend_args=dict(backend='atomic')``."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        with atomic_write(filepath) as file:
            file.write(obj)


register_backend('atomic', AtomicBackend, force=True)
