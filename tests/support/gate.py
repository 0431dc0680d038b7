"""A transform that stops a training at a known iteration until the test lets it go on."""

import os
import time
from pathlib import Path

from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

PATIENCE = 600.0  # of a busy machine; nothing waits for it when all goes well


def wait_for(condition, what: str) -> None:
    """Return when the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f'{what} did not happen'
        time.sleep(0.05)


@TRANSFORMS.register_module()
class Gate(BaseTransform):
    """Notes each image that a process loads; after some of them it waits for the file ``open``.

    Args:
        folder: Of the gate.
        after: Images that each process may load.
    """

    def __init__(self, folder: str, after: int) -> None:
        self.folder, self.after, self.loaded = Path(folder), after, 0

    def transform(self, results: dict) -> dict:
        self.loaded += 1
        with (self.folder / 'loaded.txt').open('a') as file:
            file.write(f'{os.getpid()} {os.getppid()}\n')
        if self.loaded > self.after:
            wait_for((self.folder / 'open').exists, 'the opening of the gate')
        return results


class GateKeeper:
    """Opens and closes the gate of a config.

    Args:
        folder: Where the gate's files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def build_into(self, path: Path, after: int) -> None:
        """Put the gate into the training pipeline of a config's file."""
        config = Config.fromfile(path)
        gate = dict(type='Gate', folder=str(self.folder), after=after)
        config.train_dataloader.dataset.pipeline.insert(2, gate)
        config.custom_imports = dict(imports=['tests.support.gate'], allow_failed_imports=False)
        config.dump(str(path))

    def open(self) -> None:
        (self.folder / 'open').touch()

    def close(self) -> None:
        (self.folder / 'open').unlink()
        (self.folder / 'loaded.txt').unlink()

    def loaded(self) -> dict[tuple[int, int], int]:
        """Images loaded by each process, by its number and its parent's, in order."""
        path = self.folder / 'loaded.txt'
        found: dict[tuple[int, int], int] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            process, parent = map(int, line.split())
            found[process, parent] = found.get((process, parent), 0) + 1
        return found

    def waiting(self, number: int, after: int) -> tuple[int, int]:
        """The ``number``-th process and its parent, once it stands before the gate."""
        wait_for(lambda: list(self.loaded().values())[number:] == [after + 1], 'a process to wait')
        return list(self.loaded())[number]
