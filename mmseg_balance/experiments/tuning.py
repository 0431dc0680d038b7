"""Equal tuning: the same number of settings for every method, chosen on dev with a seed of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Protocol

from mmengine.config import Config

from mmseg_balance.experiments.collection import read_scores
from mmseg_balance.experiments.merging import LR
from mmseg_balance.experiments.plan import Ingredient, Run
from mmseg_balance.experiments.recommendation import direction
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.runtime.launching import check_seed

LR_FACTORS = (1.0, 0.3, 3.0, 0.1, 10.0)


class Trial(Protocol):
    """A run of the tuning, of a comparison or a screening."""

    @property
    def run(self) -> Run: ...

    @property
    def folder(self) -> RunFolder: ...

    @property
    def finished(self) -> bool: ...


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


def plan_trials(runs: Sequence[Run], number: int, seed: int) -> list[Run]:
    """Every setting of every method, with one seed that is not reported.

    Args:
        runs: The runs that will be reported.
        number: Settings of each method; 0: none is tried.
        seed: Of the trials.

    Raises:
        ValueError: the seed is one of the reported ones, or one that no run can have.
    """
    if not number:
        return []
    check_seed('--tune-seed', seed)
    if seed in {run.seed for run in runs}:
        raise ValueError(f'--tune-seed: {seed} is among --seeds; tune with a seed of its own.')
    methods = {run.method: run for run in runs}
    return [
        Run(run.loss, run.sampler, seed, setting, trial=i)
        for run in methods.values()
        for i, setting in enumerate(settings_to_try(run.loss, number))
    ]


def trial_results(trials: Iterable[Trial], score: str) -> list[dict]:
    """Every trial with its scores on dev, and whether its method is run with its settings.

    Chosen is the best by the score, the first of equals; a trial that failed has no scores.
    """
    found = [
        {
            'method': trial.run.method,
            'setting': trial.run.trial,
            'settings': dict(trial.run.settings),
            'seed': trial.run.seed,
            'split': 'dev',
            'scores': read_scores(trial.folder.scores('dev'))['scores'] if trial.finished else {},
            'error': '' if trial.finished else trial.folder.state.get('error', ''),
            'chosen': False,
        }
        for trial in trials
    ]
    best: dict[str, tuple[float, dict]] = {}
    for trial in found:
        value = trial['scores'].get(score)
        if value is None or value != value:
            continue
        value *= direction(score)
        if trial['method'] not in best or value > best[trial['method']][0]:
            best[trial['method']] = (value, trial)
    for _, trial in best.values():
        trial['chosen'] = True
    return found


def tuned(runs: Iterable[Run], trials: Iterable[Trial], score: str) -> list[Run]:
    """The runs with the best settings of their methods, or their own where no trial has ended."""
    best = {t['method']: t['settings'] for t in trial_results(trials, score) if t['chosen']}
    return [replace(run, settings=best.get(run.method, run.settings)) for run in runs]
