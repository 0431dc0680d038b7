"""Which checkpoint of a run was saved last and is whole."""

import logging
import re
import zipfile
from pathlib import Path

import torch
from mmengine.logging import print_log

from mmseg_balance.runtime.atomic_files import remove_partial_files, write_text
from mmseg_balance.runtime.checkpoints import UntrustedCheckpointError, safe_loading

POINTER = 'last_checkpoint'


def point_to_whole_checkpoint(folder: str | Path, template: str = 'iter_{}.pth') -> Path | None:
    """Make ``last_checkpoint`` name the newest whole checkpoint of a run, and return it.

    Damaged checkpoints are named in the log and stay where they are; leftovers of killed writers
    are removed. Without any whole checkpoint ``last_checkpoint`` is removed and the log says that
    the run starts from scratch. A checkpoint on remote storage is left to MMEngine.

    Args:
        folder: work directory of the run.
        template: names of its checkpoints, ``{}`` for the step.
    """
    pointer = Path(folder, POINTER)
    text = pointer.read_text().strip() if pointer.is_file() else ''
    if '://' in text or text.startswith('s3:'):
        return None
    named = _find_named(Path(folder), text)
    for place in {Path(folder), named.parent if named else Path(folder)}:
        remove_partial_files(place)
    candidates = _last_saved_first(Path(folder), named, pointer, template)
    for path in candidates:
        damage = what_is_damaged(path)
        if damage is None:
            if str(path) != text:
                write_text(pointer, str(path))
            return path
        _warn(f'{path} is damaged ({damage}): going back to the checkpoint before it')
    if candidates or text:
        _warn(f'there is no whole checkpoint in {folder}: the training starts from scratch')
    pointer.unlink(missing_ok=True)
    return None


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)


def _find_named(folder: Path, text: str) -> Path | None:
    """The file that ``last_checkpoint`` names, which may have been moved with its folder."""
    if not text:  # killed between opening and writing it
        return None
    named = Path(text)
    here = folder / named.name
    moved = not named.exists() and (here.exists() or not named.parent.is_dir())
    return here if moved else named


def _last_saved_first(folder: Path, named: Path | None, pointer: Path, template: str) -> list[Path]:
    """Checkpoints in the order in which to try them.

    An older run in the same folder may have left higher steps, so a step above the named one
    counts only if it was saved after ``last_checkpoint`` was written: the run was then killed
    between the two.
    """
    pattern = re.compile(re.escape(template).replace(r'\{\}', r'(\d+)'))
    steps = {
        path: int(match[1])
        for path in (named.parent if named else folder).glob('*')
        if (match := pattern.fullmatch(path.name))
    }
    if named is None:
        return sorted(steps, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    falling = sorted(steps, key=steps.get, reverse=True)
    if named not in steps:
        return ([named] if named.exists() else []) + falling
    written = pointer.stat().st_mtime_ns
    return [
        path for path in falling if steps[path] <= steps[named] or path.stat().st_mtime_ns > written
    ]


def what_is_damaged(path: Path) -> str | None:
    """Why a checkpoint is not whole; None if it is.

    The checksums of its archive must be right and PyTorch must be able to read it as data. That
    runs no code of the file, and its tensors stay on the disk. A checkpoint that asks for more is
    left to the loader, which refuses it or not; a folder of shards is not looked into.
    """
    if path.is_dir():
        return None
    if not path.is_file():
        return 'there is no such file'
    archived = zipfile.is_zipfile(path)
    if not archived and _first_bytes(path) != b'\x80\x02':  # as PyTorch before 1.6 began
        return 'it has no end, as if truncated'
    try:
        if archived:
            with zipfile.ZipFile(path) as archive:
                spoiled = archive.testzip()
            if spoiled:
                return f'checksum of {spoiled}'
        with safe_loading(path.name):
            # Only an archive can be left on the disk; PyTorch 2.1 wants its name as text for that.
            torch.load(str(path), map_location='cpu', **(dict(mmap=True) if archived else {}))
    except UntrustedCheckpointError:
        return None
    except Exception as error:  # what a damaged table of contents leads to is anyone's guess
        return f'it cannot be read, {type(error).__name__}'
    return None


def _first_bytes(path: Path) -> bytes:
    with path.open('rb') as file:
        return file.read(2)
