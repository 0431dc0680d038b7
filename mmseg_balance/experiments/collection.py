"""From run folders to one dictionary: what is in results.json."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmseg_balance.experiments.results import read_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.training_log import cost, curves, read_scalars


def collect(work_dir: Path, base_hash: str, order: Sequence[str] = ()) -> dict:
    """Reads every run in ``work_dir`` that was made from the same base config.

    Runs of earlier calls count too, so that a comparison can grow; those with another length,
    data set or model are left out and named.

    Args:
        work_dir: folder of the comparison.
        base_hash: hash of the base config without its loss.
        order: methods in the order they were asked for; others follow.

    Returns:
        The classes, their labelled pixels in the test set, the runs, and the names of those that
        were left out.
    """
    runs, left_out = [], []
    for path in sorted(work_dir.glob('runs/*/seed*/state.json')):
        run = read_run(RunFolder(path.parent), work_dir)
        if run['base_hash'] == base_hash:
            runs.append(run)
        else:
            left_out.append(f'{run["method"]}, seed {run["seed"]}')
    position = {method: i for i, method in enumerate(order)}
    runs.sort(key=lambda r: (position.get(r['method'], len(position)), r['method'], r['seed']))
    done = [run for run in runs if run['state'] == 'finished']
    return {
        'classes': done[0]['classes'] if done else [],
        'pixels': np.sum(done[0]['confusion'], axis=1).tolist() if done else [],
        'groups': done[0]['groups'] if done else {},
        'runs': [{k: v for k, v in r.items() if k not in ('classes', 'groups')} for r in runs],
        'left_out': left_out,
    }


def read_run(folder: RunFolder, work_dir: Path) -> dict:
    """Everything known of one run; scores are fractions, nan where undefined."""
    state = folder.state
    finished = folder.is_finished(state['hash'])
    rows = read_scalars(folder.train_dir)
    run = {
        **{
            key: state[key]
            for key in ('method', 'loss', 'sampler', 'seed', 'hash', 'base_hash', 'iterations')
        },
        'state': 'finished' if finished else 'failed' if state.get('error') else 'unfinished',
        'error': '' if finished else state.get('error', ''),
        'seconds': state.get('seconds', {}),
        'commands': state.get('commands', {}),
        'folder': str(folder.path.relative_to(work_dir)),
        'curves': curves(rows),
        **cost(rows),
    }
    if finished:
        run.update(
            _scores(
                read_json(folder.path / 'imbalance.json'),
                read_json(folder.path / 'calibration.json'),
            )
        )
    return run


def _scores(imbalance: dict, calibration: dict) -> dict:
    """The contents of the two metrics' files, with one name for each score."""
    scores = {**imbalance['scores'], **calibration['scores']}
    groups = dict(imbalance['groups'])
    if set(groups) == {'head', 'body', 'tail'} and not groups['tail']:
        # Two classes have a frequent and a rare one; thirds would call the rare one "body".
        groups = {'head': groups['head'], 'tail': groups['body']}
        scores['mIoU_tail'] = scores.pop('mIoU_body')
    return {
        'classes': imbalance['classes'],
        'groups': groups,
        'scores': scores,
        'per_class': imbalance['per_class'],
        'confusion': imbalance['confusion'],
        'bins': calibration['bins'],
    }
