"""What one run keeps on disk: its config, logs, state, results, and the lock that guards it.

``finished.json`` is written last and holds the config's hash: a run is done when it is there and
the hash is today's. ``state.json`` is what is known of a run before that.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmseg_balance.experiments.results import read_json, write_json
from mmseg_balance.runtime.locks import file_lock

FORMAT = 2  # of the scores in a run's folder; runs with older ones are tested again


class RunFolder:
    """Paths and state of one run.

    Args:
        path: the folder; made on first use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / 'config.py'
        self.dev_config = path / 'config_dev.py'
        self.train_dir = path / 'train'
        self.test_dir = path / 'test'

    def scores(self, split: str, decision: str = 'argmax') -> Path:
        """Where the metrics of a split (``dev`` or ``test``) and a decision rule write."""
        return self.path / 'scores' / split / decision

    def log(self, stage: str) -> Path:
        """Output of the stage's process (``train`` or ``test``)."""
        return self.path / f'{stage}.log'

    @property
    def state(self) -> dict:
        return read_json(self.path / 'state.json', {})

    def update_state(self, **changes) -> None:
        write_json(self.path / 'state.json', {**self.state, **changes})

    def note_failure(self, error: Exception, about: dict) -> None:
        """Keeps what ended a run from outside; ``about`` describes it where nothing does yet."""
        self.update_state(**{**about, **self.state, 'error': f'{type(error).__name__}: {error}'})

    @property
    def finished(self) -> dict | None:
        return read_json(self.path / 'finished.json')

    def is_finished(self, fingerprint: str) -> bool:
        """Whether the run is done with a config of this hash."""
        marker = self.finished or {}
        return (marker.get('hash'), marker.get('format')) == (fingerprint, FORMAT)

    def finish(self, fingerprint: str) -> None:
        """Writes the marker that ends a run."""
        write_json(
            self.path / 'finished.json',
            {
                'hash': fingerprint,
                'format': FORMAT,
                'finished': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
            },
        )

    def reopen(self) -> None:
        """Removes that marker: nobody is to read what is about to be written again."""
        (self.path / 'finished.json').unlink(missing_ok=True)

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint (MMEngine names it in a file after writing it)."""
        try:
            path = Path((self.train_dir / 'last_checkpoint').read_text().strip())
        except FileNotFoundError:
            return None
        path = path if path.is_file() else self.train_dir / path.name
        return path if path.is_file() else None

    def set_aside(self, replaced: Path) -> Path:
        """Moves a run with another config out of the way; nothing is deleted."""
        number = 1
        while (target := replaced / f'{self.path.parent.name}-{self.path.name}-{number}').exists():
            number += 1
        replaced.mkdir(parents=True, exist_ok=True)
        return self.path.rename(target)

    @contextmanager
    def lock(
        self, wait: bool = False, while_waiting: Callable[[], None] = lambda: None
    ) -> Iterator[int | None]:
        """Holds the run for this process and the ones that inherit the yielded descriptor.

        A training that outlives a killed comparison still holds it, so that no second one writes
        into its folder. Yields None when another process has the run and ``wait`` is false.
        """
        path = self.path.parent / f'.{self.path.name}.lock'
        with file_lock(path, wait, while_waiting) as descriptor:
            yield descriptor
