"""The matrix of runs: losses x samplers x seeds, each with a name, a file and a folder."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_balance.runtime.launching import check_seed

AS_CONFIGURED = 'config'
CHECKPOINT = 'checkpoint'  # the method of a screening that is the network as it was trained


def is_checkpoint(method: str) -> bool:
    """Whether a method is the network as it was trained, with whatever decision.

    >>> is_checkpoint('checkpoint'), is_checkpoint('checkpoint + iou'), is_checkpoint('ce + iou')
    (True, True, False)
    """
    return method.split(' + ')[0] == CHECKPOINT


@dataclass(frozen=True)
class Ingredient:
    """A loss or a sampler: the name it was asked for by, and the config file that defines it.

    ``path`` is None for the sampler that the compared config already has.
    """

    name: str
    path: Path | None

    @property
    def key(self) -> str:
        """Lower-case name, as used in folders."""
        return self.name.lower()


@dataclass(frozen=True)
class Run:
    """One training: a loss, a sampler and a seed.

    Args:
        loss: the loss.
        sampler: the sampler.
        seed: of weights, order of images and augmentation.
        settings: changes of the config by name: ``lr`` is a factor of the learning rate, other
            names lead into the decode head, ``loss_decode.0.gamma``.
        trial: number of the setting that is tried on dev alone; None for a run that is reported.
    """

    loss: Ingredient
    sampler: Ingredient
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    trial: int | None = None

    @property
    def method(self) -> str:
        """Name shared by the seeds of one loss and sampler.

        >>> ce, own = Ingredient('ce', Path('ce.py')), Ingredient(AS_CONFIGURED, None)
        >>> Run(ce, own, 0).method
        'ce'
        >>> Run(ce, Ingredient('balance_batch', Path('b.py')), 0).method
        'ce + balance_batch'
        """
        if self.sampler.path is None:
            return self.loss.name
        return f'{self.loss.name} + {self.sampler.name}'

    @property
    def name(self) -> str:
        """Name of the run alone."""
        which = f'seed {self.seed}' if self.trial is None else f'setting {self.trial}'
        return f'{self.method}, {which}'

    @property
    def folder(self) -> Path:
        """Folder of the run, relative to the comparison's own."""
        method = self.method.lower().replace(' ', '')
        if self.trial is None:
            return Path('runs', method, f'seed{self.seed}')
        return Path('trials', method, f'setting{self.trial}')

    @property
    def splits(self) -> tuple[str, ...]:
        """What it is scored on."""
        return ('dev', 'test') if self.trial is None else ('dev',)


def find_ingredient(name: str, kind: str, roots: Sequence[Path]) -> Ingredient:
    """Finds the config file of a loss or a sampler.

    Args:
        name: a name (``lmp``: ``<root>/_base_/losses/lmp.py``, in any case) or the path of a
            ``.py`` file.
        kind: ``'losses'`` or ``'samplers'``.
        roots: config folders, the first that has the file wins.

    Raises:
        ValueError: there is no such file; the message lists what there is.
    """
    if name.endswith('.py') and Path(name).is_file():
        return Ingredient(Path(name).stem, Path(name).resolve())
    if kind == 'samplers' and name == AS_CONFIGURED:
        return Ingredient(name, None)
    for root in roots:
        path = root / '_base_' / kind / f'{name.lower()}.py'
        if path.is_file():
            return Ingredient(name, path.resolve())
    known = sorted({p.stem for root in roots for p in (root / '_base_' / kind).glob('*.py')})
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f'did you mean {close[0]!r}? ' if close else ''
    raise ValueError(
        f'--{kind}: no {name!r} ({hint}known: {", ".join(known) or "none"}); '
        f'for your own, give the path of a .py file that sets '
        f'{"loss_decode = [dict(...)]" if kind == "losses" else "sampler = dict(...)"}.'
    )


def plan_runs(
    losses: Sequence[str], samplers: Sequence[str], seeds: Sequence[int], roots: Sequence[Path]
) -> list[Run]:
    """Lists the runs seed by seed, so that a stopped comparison has whole rounds behind it.

    Raises:
        ValueError: an unknown name, one that is given twice, a file that cannot have its name, or a
            seed that no run can have.
    """
    for seed in seeds:
        check_seed('--seeds', seed)
    for option, values in (
        ('losses', [x.lower() for x in losses]),
        ('samplers', samplers),
        ('seeds', seeds),
    ):
        twice = [x for i, x in enumerate(values) if x in values[:i]]
        if twice:
            raise ValueError(f'--{option}: {twice[0]!r} is given twice; name each once.')
    found_losses = [find_ingredient(name, 'losses', roots) for name in losses]
    found_samplers = [find_ingredient(name, 'samplers', roots) for name in samplers]
    for option, found in (('losses', found_losses), ('samplers', found_samplers)):
        keys = [x.key for x in found]
        twice = [key for i, key in enumerate(keys) if key in keys[:i]]
        if twice:
            raise ValueError(f'--{option}: {twice[0]!r} stands for two files; rename one.')
        joined = next((x for x in found if ' + ' in x.name), None)
        if joined is not None:
            raise ValueError(
                f"--{option}: ' + ' joins a loss, a sampler and a decision; rename {joined.path}."
            )
    reserved = next((x for x in found_losses if x.key == CHECKPOINT), None)
    if reserved is not None:
        raise ValueError(
            f'--losses: {CHECKPOINT!r} is the network as it was trained; rename {reserved.path}.'
        )
    runs = [
        Run(loss, sampler, seed)
        for seed in seeds
        for sampler in found_samplers
        for loss in found_losses
    ]
    _check_folders(runs)
    return runs


def _check_folders(runs: Sequence[Run]) -> None:
    """Raise ValueError where two runs would be kept in one folder."""
    seen: dict[Path, Run] = {}
    for run in runs:
        other = seen.setdefault(run.folder, run)
        if other is not run:
            raise ValueError(
                f'--losses, --samplers: {other.method!r} and {run.method!r} would both be kept in '
                f'{run.folder.parent}; rename the file of one.'
            )
