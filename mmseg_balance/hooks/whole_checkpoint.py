"""Checkpoints that survive a kill at any moment, and a resume that starts from a whole one."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_balance.runtime.atomic_files import explain_full_disk
from mmseg_balance.runtime.integrity import point_to_whole_checkpoint


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, safe against kills, full disks and damaged files.

    - A checkpoint gets its name once it is complete on the disk.
    - An outdated one, or a best one that has been beaten, is removed after the new one is there,
      not before: with ``max_keep_ckpts=1`` too there is always a whole one.
    - A resumed run looks at the latest checkpoint first. A damaged one is named in the log, and
      the newest whole one before it is used.

    Keep two (``max_keep_ckpts=2``) if the disk itself may spoil files.

    Args: those of ``CheckpointHook``; ``backend_args`` is ``dict(backend='atomic')`` by default.

    Example:
        >>> WholeCheckpointHook(interval=100, max_keep_ckpts=2).backend_args
        {'backend': 'atomic'}
    """

    def __init__(self, *args, backend_args: dict | None = None, **kwargs) -> None:
        super().__init__(*args, backend_args=backend_args or {'backend': 'atomic'}, **kwargs)

    def before_run(self, runner: Runner) -> None:
        """Let ``last_checkpoint`` name a whole checkpoint before the runner resumes from it."""
        if runner._resume and runner._load_from is None:
            if is_main_process():
                point_to_whole_checkpoint(runner.work_dir, self.filename_tmpl)
            barrier()

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if self.max_keep_ckpts > 0:
            # Without the parent's bound, which would forget the outdated one before its removal.
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        # One more may stay for now, so the parent removes nothing before it saves.
        self.max_keep_ckpts += self.max_keep_ckpts > 0
        try:
            with explain_full_disk(Path(self.out_dir, self.filename_tmpl.format(step))):
                super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts -= self.max_keep_ckpts > 0
        if self.max_keep_ckpts > 0:
            self._remove_outdated(runner)

    def _remove_outdated(self, runner: Runner) -> None:
        # Killed here, the checkpoint just saved still lists the outdated one, and the parent
        # removes that when the run is resumed.
        while len(self.keep_ckpt_ids) > self.max_keep_ckpts:
            step = self.keep_ckpt_ids.popleft()
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
            if is_main_process() and self.file_backend.isfile(path):
                self.file_backend.remove(path)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if self.save_best:
            with self._removing_afterwards():
                super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_afterwards(self) -> Iterator[None]:
        """The parent removes the previous best checkpoint first; put that off to the end."""
        backend = self.file_backend
        self.file_backend = _DeferredRemoval(backend)
        try:
            yield
            outdated = self.file_backend.outdated
        finally:
            self.file_backend = backend
        best = getattr(self, 'best_ckpt_path_dict', None) or {'': self.best_ckpt_path}
        for path in outdated - set(best.values()):
            backend.remove(path)


class _DeferredRemoval:
    """A storage backend that keeps a list of what it should have removed."""

    def __init__(self, backend: BaseStorageBackend) -> None:
        self._backend = backend
        self.outdated: set[str] = set()

    def __getattr__(self, name: str):
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self.outdated.add(path)
