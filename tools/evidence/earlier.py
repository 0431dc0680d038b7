"""Runs that were published before and whose checkpoints may be gone: further trainings join them."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmseg_balance.experiments.results import read_json
from tools.evidence.publishing import AND

SETTING = ('length', 'data', 'train_images', 'dev_images', 'test_images', 'choose_by', 'groups')
VARIES = ('machine', 'cores', 'date')  # of the environment; all else are versions
FOLDER = 'earlier'


def join(results: Mapping, published: Path, work_dir: Path) -> dict:
    """Results of a work dir with the published runs that it does not have itself.

    The published baseline stays the baseline. Matrices are copied into the work dir, as publishing
    replaces its own.

    Args:
        results: Of the trainings scored now, with ``setting``, ``environment`` and ``calls``.
        published: ``docs/results/NAME.json``.
        work_dir: Where ``results`` are from.

    Raises:
        ValueError: nothing published, without matrices, or under another setting, with other
            versions, recipes, classes or splits.
    """
    content = read_json(published)
    if content is None:
        raise ValueError(f'{published}: no readable results to add to; leave --add out.')
    _check(results, content, published, work_dir)
    scored = {(run['method'], run['seed']) for run in results['runs']}
    kept = [run for run in content['runs'] if (run['method'], run['seed']) not in scored]
    kept = [_copied(run, published.parent, work_dir) for run in kept]
    runs = _ordered([*content['runs'], *results['runs']], [*kept, *results['runs']])
    return {
        **results,
        'runs': runs,
        'setting': {**results['setting'], 'config': content['setting']['config']},
        'calls': [
            *({'command': command} for command in content['command'].split(AND)),
            *results['calls'],
        ],
    }


def _check(results: Mapping, content: Mapping, published: Path, work_dir: Path) -> None:
    scored = [run | read_json(work_dir / run['folder'] / 'state.json') for run in results['runs']]
    ours, theirs = _facts({**results, 'runs': scored}), _facts(content)
    new_methods = {key for key in ours.keys() ^ theirs.keys() if key.startswith('recipe of')}
    for what in [key for key in {**theirs, **ours} if key not in new_methods]:
        if ours.get(what) != theirs.get(what):
            raise ValueError(
                f'{published}: {what} there {theirs.get(what)!r}, of these trainings '
                f'{ours.get(what)!r}; runs can only be added to runs that were made and scored '
                'alike. Publish under another name.'
            )


def _facts(results: Mapping) -> dict:
    """What runs must have in common to be in one table."""
    recipes: dict[str, set] = {}
    for run in results['runs']:
        recipes.setdefault(f'recipe of {run["method"]}', set()).add(run['recipe'])
    return {
        **{key: results['setting'].get(key) for key in SETTING},
        **{key: value for key, value in results['environment'].items() if key not in VARIES},
        **{key: results[key] for key in ('classes', 'groups')},
        'splits': sorted({run['split'] for run in results['runs']}),
        **{key: sorted(names) for key, names in recipes.items()},
    }


def _copied(run: Mapping, source: Path, work_dir: Path) -> dict:
    matrices = source / run['confusion']
    if not matrices.is_file():
        raise ValueError(
            f'{matrices}: the confusion matrices of {run["method"]}, seed {run["seed"]} were not '
            'kept, so no difference from it can be computed; train it again.'
        )
    target = Path(FOLDER, matrices.name)
    (work_dir / FOLDER).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(matrices, work_dir / target)
    return {**run, 'confusion': str(target), 'folder': FOLDER}


def _ordered(named: Sequence[Mapping], runs: Sequence[Mapping]) -> list:
    """Methods as they were first named, each by seed; the splits of a run stay as they are."""
    position = {name: i for i, name in enumerate(dict.fromkeys(run['method'] for run in named))}
    return sorted(runs, key=lambda run: (position[run['method']], run['seed']))
