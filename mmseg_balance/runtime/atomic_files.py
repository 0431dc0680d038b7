"""Files that are whole or not there at all, whenever the process ends."""

import errno
import os
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmengine.fileio import LocalBackend, register_backend

PARTIAL = '.partial'


class DiskFullError(OSError):
    """The disk is too full for a file; what stood in its place is untouched."""

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


def check_output(
    option: str,
    path: str | os.PathLike,
    suffixes: Collection[str] = (),
    inputs: Mapping[str, str | os.PathLike] | None = None,
) -> None:
    """See that a file can be written, before what it is to hold costs any time; nothing is made.

    Args:
        option: what named the file, as ``--out``.
        path: the file.
        suffixes: what its name may end in; none given: anything.
        inputs: what it is → the file that must not be overwritten.

    Raises:
        ValueError: names option, file and remedy.

    Example:
        >>> check_output('--json', 'mine.py', ['.json'], {'config': './mine.py'})
        Traceback (most recent call last):
        ValueError: --json mine.py is the config itself, which would be lost; give another name
    """
    path = Path(path)
    for what, other in (inputs or {}).items():
        if path.resolve() == Path(other).resolve():
            raise ValueError(
                f'{option} {path} is the {what} itself, which would be lost; give another name'
            )
    if path.is_dir():
        raise ValueError(f'{option} {path} is a folder; give the name of a file in it')
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f'{option} {path} must end in {" or ".join(suffixes)}')
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f'{option} {path} cannot be written, {folder}: {error.strerror}; give a file elsewhere'
        ) from error


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
