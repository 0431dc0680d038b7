"""What a screening trains: heads with their method, seed and settings, each with a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from mmengine.config import Config

from mmseg_balance.experiments.merging import LOSS_HOOKS, SAMPLER_HOOKS, fingerprint, merge_run
from mmseg_balance.experiments.plan import Ingredient, Run

CHECKPOINT = 'checkpoint'  # the method that is the network as it was trained
LR = 'lr'
HEAD_FILE = 'head.pth'
LR_FACTORS = (1.0, 0.3, 3.0, 0.1, 10.0)
# Hooks of a config that a head keeps; others belong to whole trainings.
KEPT_HOOKS = (*LOSS_HOOKS, *SAMPLER_HOOKS, 'FusedLossHook')
LEARNING_HOOKS = SAMPLER_HOOKS  # what the data loader shows depends on the head


@dataclass(frozen=True)
class HeadRun:
    """One head to train and score.

    Args:
        run: Loss, sampler and seed.
        settings: Changes of the config by name: ``lr`` is a factor of the learning rate, other
            names lead into the loss, ``loss_decode.0.gamma``.
        trial: Number of the setting that is tried on dev alone; None for a run that is reported.
        trained: False for the checkpoint's own head, which is only scored.
    """

    run: Run
    settings: Mapping[str, float] = field(default_factory=dict)
    trial: int | None = None
    trained: bool = True

    @property
    def method(self) -> str:
        return self.run.method if self.trained else CHECKPOINT

    @property
    def name(self) -> str:
        if not self.trained:
            return CHECKPOINT
        if self.trial is not None:
            return f'{self.method}, setting {self.trial}'
        return f'{self.method}, seed {self.run.seed}'

    @property
    def folder(self) -> Path:
        """Relative to the screening's own."""
        method = self.method.lower().replace(' ', '')
        if not self.trained:
            return Path('runs', method, 'as_trained')
        if self.trial is not None:
            return Path('trials', method, f'setting{self.trial}')
        return Path('runs', method, f'seed{self.run.seed}')

    @property
    def splits(self) -> tuple[str, ...]:
        return ('dev',) if self.trial is not None else ('dev', 'test')

    def to_dict(self) -> dict:
        """For a pass's file."""
        parts = {
            kind: {'name': part.name, 'path': None if part.path is None else str(part.path)}
            for kind, part in (('loss', self.run.loss), ('sampler', self.run.sampler))
        }
        return {
            **parts,
            'seed': self.run.seed,
            'settings': dict(self.settings),
            'trial': self.trial,
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
            Run(loss, sampler, content['seed']),
            content['settings'],
            content['trial'],
            content['trained'],
        )


def head_config(base: Config, head_run: HeadRun) -> Config:
    """The config of one head: the base with loss, sampler, seed and settings."""
    if not head_run.trained:
        return base
    config = merge_run(base, head_run.run)
    config.custom_hooks = [h for h in config.get('custom_hooks') or [] if h['type'] in KEPT_HOOKS]
    if any(hook.get('source') == 'val' for hook in config.custom_hooks):
        raise ValueError(
            f"{head_run.method}: source='val' of ClassPerformanceHook needs validations while it "
            "trains, which a screening has none of; use source='train'."
        )
    for name, value in head_run.settings.items():
        if name == LR:
            config.optim_wrapper.optimizer.lr *= value
        else:
            heads = config.model.decode_head
            for head in heads if isinstance(heads, list) else [heads]:
                _set(head, name, value, head_run.run.loss.path)
    return config


def _set(head: dict, name: str, value, path: Path) -> None:
    *parents, last = name.split('.')
    node = head
    try:
        for key in parents:
            node = node[int(key)] if isinstance(node, list | tuple) else node[key]
        node[int(last) if isinstance(node, list) else last] = value
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ValueError(
            f'{path}: search names {name!r}, and the head has no such place; the names start with '
            "'loss_decode.0.'."
        ) from error


def learns_what_to_show(config: Config) -> bool:
    """Whether the images that come next depend on the head, so that heads cannot share them."""
    return any(hook['type'] in LEARNING_HOOKS for hook in config.get('custom_hooks') or [])


def run_hash(config: Config, head_run: HeadRun, origin: str) -> str:
    """Hash of all that a head's scores depend on.

    Args:
        config: From :func:`head_config`.
        head_run: Whether it is trained.
        origin: Hash of the checkpoint and of how heads start.
    """
    kind = '' if head_run.trained else CHECKPOINT
    return f'{fingerprint(config)}{origin}{kind}'


def settings_to_try(loss: Ingredient, number: int) -> list[dict[str, float]]:
    """The settings of a loss that ``--tune`` tries, ``number`` of them, its own defaults first.

    Convention: what the loss's file declares (``search = {'loss_decode.0.gamma': [1., 2.]}``, all
    combinations), each at the config's learning rate, then at 0.3 and 3 times it and so on, until
    there are enough. A file without ``search`` has learning rates alone.

    Raises:
        ValueError: the file declares more than ``number`` combinations, or something else than
            lists of values.
    """
    search = Config.fromfile(str(loss.path)).get('search') or {}
    if not all(isinstance(values, list | tuple) and values for values in search.values()):
        raise ValueError(
            f'{loss.path}: search must map names to lists of values, got {dict(search)}.'
        )
    own = [dict(zip(search, values, strict=True)) for values in product(*search.values())]
    if len(own) > number:
        raise ValueError(
            f'{loss.path} declares {len(own)} settings and --tune tries {number} for every method '
            f'alike; declare fewer, or give --tune {len(own)}.'
        )
    found = [
        {**setting, **({} if factor == 1 else {LR: factor})}
        for factor in LR_FACTORS
        for setting in own
    ]
    if len(found) < number:
        raise ValueError(f'--tune: at most {len(found)} settings of {loss.name} can be tried.')
    return found[:number]


def plan_trials(runs: Sequence[Run], number: int, seed: int) -> list[HeadRun]:
    """Every setting of every method, with one seed that is not reported.

    Args:
        runs: The runs that will be reported.
        number: Settings of each method.
        seed: Of the trials.

    Raises:
        ValueError: the seed is one of the reported ones.
    """
    if seed in {run.seed for run in runs}:
        raise ValueError(f'--tune-seed: {seed} is among --seeds; tune with a seed of its own.')
    methods = {run.method: run for run in runs}
    return [
        HeadRun(Run(run.loss, run.sampler, seed), setting, trial=i)
        for run in methods.values()
        for i, setting in enumerate(settings_to_try(run.loss, number))
    ]
