"""From run folders to one dictionary: what is in results.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmseg_balance.experiments.results import read_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.training_log import cost, curves, read_scalars
from mmseg_balance.functional.confusion import group_means

SPLITS = ('dev', 'test')  # before any other that was scored
STATE = ('method', 'loss', 'sampler', 'seed', 'hash', 'base_hash', 'iterations')
FACTS = ('classes', 'groups', 'pixels')  # what all runs have in common


def collect(work_dir: Path, base_hash: str, order: Sequence[str] = ()) -> dict:
    """Reads every run in ``work_dir`` that was made from the same base config.

    Runs of earlier calls count too, so that a comparison can grow; those with another length,
    data set or model are left out and named.

    Args:
        work_dir: folder of the comparison.
        base_hash: hash of the base config without its loss.
        order: methods in the order they were asked for; others follow.

    Returns:
        The classes, their labelled pixels in the test set and groups by these, ``runs`` (one entry
        for each finished run, split and decision rule, all scored by these groups), ``unfinished``
        runs, and the names of those left out.
    """
    runs, unfinished, left_out = [], [], []
    for path in sorted(work_dir.glob('runs/*/*/state.json')):
        folder = RunFolder(path.parent)
        state = folder.state
        if state.get('base_hash') != base_hash:
            left_out.append(_name(state, path.parent))
        elif folder.is_finished(state['hash']):
            runs += read_run(folder, work_dir)
        else:
            unfinished.append(_unfinished(folder, work_dir))
    position = {method: i for i, method in enumerate(order)}

    def place(run: dict) -> tuple:
        # A rule's method follows the method whose logits it takes.
        known = position.get(run['method'], position.get(run['trained_as'], len(position)))
        seed = -1 if run['seed'] is None else run['seed']
        return known, run['trained_as'], run['method'], seed

    runs.sort(key=place)
    unfinished.sort(key=place)
    first = next((run for run in runs if run['split'] == 'test'), None)
    facts = {key: first[key] for key in FACTS} if first else {key: [] for key in FACTS}
    if first:
        runs = [with_groups(run, first['groups']) for run in runs]
    return {
        **{key: facts[key] or {} if key == 'groups' else facts[key] for key in FACTS},
        'runs': [{k: v for k, v in run.items() if k not in FACTS} for run in runs],
        'unfinished': unfinished,
        'left_out': left_out,
    }


def read_run(folder: RunFolder, work_dir: Path) -> list[dict]:
    """An entry for each split and decision of a finished run; scores are fractions, None undefined."""
    common = _known(folder, work_dir)
    log = _training(folder)
    entries = []
    for split in _splits(folder):
        paths = sorted(folder.scores(split).parent.glob('*/imbalance.json'))
        for path in sorted(paths, key=lambda path: path.parent.name != 'argmax'):
            decision = path.parent.name
            method = common['method'] + ('' if decision == 'argmax' else f' + {decision}')
            entries.append(
                {
                    **common,
                    **(log if split == 'test' else {}),
                    'method': method,
                    'decision': decision,
                    'split': split,
                    **read_scores(path.parent),
                    'confusion': str((path.parent / 'confusions.npz').relative_to(work_dir)),
                }
            )
    return entries


def with_groups(run: dict, groups: Mapping[str, Sequence[int]]) -> dict:
    """A run with the mIoU of these groups of classes, not of those that its own split gives.

    Thirds by the pixels of dev and of test are other classes; differences go by test's on each.
    """
    means = group_means(np.array(run['per_class']['IoU'], dtype=float), groups)
    gone = {f'mIoU_{name}' for name in run.get('groups', ()) if name not in groups}
    scores = {name: value for name, value in run['scores'].items() if name not in gone}
    return {**run, 'scores': scores | {f'mIoU_{name}': mean for name, mean in means.items()}}


def _splits(folder: RunFolder) -> list[str]:
    found = {path.name for path in folder.path.glob('scores/*')}
    return [*(split for split in SPLITS if split in found), *sorted(found.difference(SPLITS))]


def _name(state: dict, folder: Path) -> str:
    if 'method' not in state:  # a state of an error alone, as earlier versions left
        return f'{folder.parent.name}, {folder.name}'
    return f'{state["method"]}, seed {state["seed"]}'


def _known(folder: RunFolder, work_dir: Path) -> dict:
    state = folder.state
    return {
        **{key: state[key] for key in STATE},
        'trained_as': state['method'],
        'settings': state.get('settings', {}),
        'state': 'finished',
        'error': '',
        'seconds': state.get('seconds', {}),
        'commands': state.get('commands', {}),
        'folder': str(folder.path.relative_to(work_dir)),
    }


def _unfinished(folder: RunFolder, work_dir: Path) -> dict:
    error = folder.state.get('error', '')
    return {
        **_known(folder, work_dir),
        'state': 'failed' if error else 'unfinished',
        'error': error,
    }


def _training(folder: RunFolder) -> dict:
    """Curves and cost, from the file that a head has or from a training's log."""
    kept = read_json(folder.path / 'curves.json')
    if kept is not None:
        seconds, iterations = folder.state.get('seconds', {}), folder.state.get('iterations')
        each = seconds['train'] / iterations if iterations and 'train' in seconds else None
        return {'curves': kept, 'seconds_per_iteration': each, 'memory_mb': None}
    rows = read_scalars(folder.train_dir)
    return {'curves': curves(rows), **cost(rows)}


def read_scores(folder: Path) -> dict:
    """The contents of the two metrics' files, with one name for each score."""
    imbalance = read_json(folder / 'imbalance.json')
    calibration = read_json(folder / 'calibration.json')
    return {
        'classes': imbalance['classes'],
        'groups': imbalance['groups'],
        'pixels': [sum(row) for row in imbalance['confusion']],
        'scores': {**imbalance['scores'], **calibration['scores']},
        'per_class': imbalance['per_class'],
        'bins': calibration['bins'],
    }
