"""What a screening trains: heads with their method, seed and settings, each with a folder."""

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmseg_balance.experiments.merging import LOSS_HOOKS, SAMPLER_HOOKS, fingerprint, merge_run
from mmseg_balance.experiments.plan import CHECKPOINT, Ingredient, Run
from mmseg_balance.runtime.config_files import type_name

HEAD_FILE = 'head.pth'
PROGRESS = 'progress.json'  # how far a worker is
# Hooks of a config that a head keeps; others belong to whole trainings.
KEPT_HOOKS = (*LOSS_HOOKS, *SAMPLER_HOOKS, 'FusedLossHook')
LEARNING_HOOKS = SAMPLER_HOOKS  # what the data loader shows depends on the head


@dataclass(frozen=True)
class HeadRun:
    """One head to train and score.

    Args:
        run: Loss, sampler, seed and settings.
        trained: False for the checkpoint's own head, which is only scored.
    """

    run: Run
    trained: bool = True

    @property
    def method(self) -> str:
        return self.run.method if self.trained else CHECKPOINT

    @property
    def name(self) -> str:
        return self.run.name if self.trained else CHECKPOINT

    @property
    def folder(self) -> Path:
        """Relative to the screening's own."""
        return self.run.folder if self.trained else Path('runs', CHECKPOINT, 'as_trained')

    @property
    def splits(self) -> tuple[str, ...]:
        return self.run.splits

    def to_dict(self) -> dict:
        """For a pass's file."""
        parts = {
            kind: {'name': part.name, 'path': None if part.path is None else str(part.path)}
            for kind, part in (('loss', self.run.loss), ('sampler', self.run.sampler))
        }
        return {
            **parts,
            'seed': self.run.seed,
            'settings': dict(self.run.settings),
            'trial': self.run.trial,
            'trained': self.trained,
        }

    @classmethod
    def from_dict(cls, content: dict) -> 'HeadRun':
        """What :meth:`to_dict` gave."""
        loss, sampler = (
            Ingredient(part['name'], None if part['path'] is None else Path(part['path']))
            for part in (content['loss'], content['sampler'])
        )
        return cls(
            Run(loss, sampler, content['seed'], content['settings'], content['trial']),
            content['trained'],
        )


def head_config(base: Config, head_run: HeadRun) -> Config:
    """The config of one head: the base with loss, sampler, seed and settings."""
    if not head_run.trained:
        return base
    config = merge_run(base, head_run.run)
    config.custom_hooks = [
        h for h in config.get('custom_hooks') or [] if type_name(h) in KEPT_HOOKS
    ]
    if any(hook.get('source') == 'val' for hook in config.custom_hooks):
        raise ValueError(
            f"{head_run.method}: source='val' of ClassPerformanceHook needs validations while it "
            "trains, which a screening has none of; use source='train'."
        )
    return config


def learns_what_to_show(config: Config) -> bool:
    """Whether the images that come next depend on the head, so that heads cannot share them."""
    return any(type_name(hook) in LEARNING_HOOKS for hook in config.get('custom_hooks') or [])


def run_hash(config: Config, head_run: HeadRun, origin: str) -> str:
    """Hash of all that a head's scores depend on.

    Args:
        config: From :func:`head_config`.
        head_run: Whether it is trained.
        origin: Hash of the checkpoint and of how heads start.
    """
    kind = '' if head_run.trained else CHECKPOINT
    return f'{fingerprint(config)}{origin}{kind}'
