"""Differences from the baseline and from the checkpoint, and the method that dev recommends."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmseg_balance.experiments.differences import UNDECIDED, differences, score_differences, verdict
from mmseg_balance.experiments.plan import CHECKPOINT, is_checkpoint
from mmseg_balance.experiments.progress import number_of
from mmseg_balance.experiments.stored_runs import load_runs
from mmseg_balance.functional.groups import make_groups

LOWER_IS_BETTER = ('ECE', 'MCE', 'cwECE', 'NLL', 'Brier', 'ignored')
SCORES = (
    *('mIoU', 'mIoU_I', 'mIoU_C', 'mIoU_worst10', 'mIoU_worst5', 'mRecall', 'mF1', 'acc', 'FWIoU'),
    *('kappa', 'mIoU_head', 'mIoU_body', 'mIoU_tail', 'cal', 'S_acc', 'S_rec'),
    *('ECE', 'MCE', 'cwECE', 'NLL', 'Brier'),
)
# What no resampled confusion matrices give: one number of each run, intervals over seeds alone.
OVER_SEEDS = (
    *('cal', 'S_acc', 'S_rec', 'ECE', 'MCE', 'cwECE', 'NLL', 'Brier'),
    *('mF1', 'FWIoU', 'kappa'),
)


def direction(score: str) -> int:
    """1 where more is better, -1 where less is.

    >>> direction('mIoU'), direction('ECE')
    (1, -1)
    """
    return -1 if score in LOWER_IS_BETTER else 1


def check_choice(score: str, groups: str, dataset) -> None:
    """Raise ValueError for a score or groups that could not be used in the end.

    Args:
        score: ``--choose-by``.
        groups: ``--groups``.
        dataset: The test set, whose file names the groups are read from.
    """
    check_score(score)
    image_groups([dataset.get_data_info(i)['img_path'] for i in range(len(dataset))], groups)


def check_score(score: str) -> None:
    """Raise ValueError for a score that no run has."""
    if score not in SCORES:
        raise ValueError(f'--choose-by: no score {score!r}; known: {", ".join(SCORES)}.')


def image_groups(names: Sequence[str], groups: str) -> np.ndarray:
    """``make_groups``, whose errors name the option."""
    try:
        return make_groups(names, groups)
    except (ValueError, re.error) as error:
        raise ValueError(f'--groups {groups}: {error}') from error


def all_differences(
    results: dict, work_dir: Path, groups: str, resamples: int = 2000
) -> list[dict]:
    """Rows of ``differences``: every method from the first and from the checkpoint, split by split.

    The checkpoint has no seed of its own: it stands against every seed of a method. Two decisions
    of the checkpoint are one pair, whose difference has no interval and no p value.

    Args:
        results: With ``runs``, as ``collect`` gives them.
        work_dir: Folder that the paths of the confusion matrices start from.
        groups: Images that depend on each other, see ``make_groups``.
        resamples: Draws of the groups.
    """
    rows = []
    for split in dict.fromkeys(run['split'] for run in results['runs']):
        runs = [run for run in results['runs'] if run['split'] == split]
        methods = list(dict.fromkeys(run['method'] for run in runs))
        if len(methods) < 2:
            continue
        confusions, names = _confusions(runs, work_dir)
        scores = _scores(runs)
        for baseline in dict.fromkeys([methods[0], *(m for m in methods if m == CHECKPOINT)]):
            rows += differences(
                _paired(confusions, baseline),
                baseline,
                image_groups(names, groups),
                split=split,
                class_groups=results['groups'],
                resamples=resamples,
            )
            rows += score_differences(_paired(scores, baseline), baseline, split=split)
    return rows


def _confusions(runs: Sequence[dict], work_dir: Path) -> tuple[dict, list[str]]:
    paths: dict[str, dict] = {}
    for run in runs:
        paths.setdefault(run['method'], {})[run['seed']] = work_dir / run['confusion']
    return load_runs(paths)


def _scores(runs: Sequence[dict]) -> dict:
    scores: dict[str, dict] = {}
    for run in runs:
        values = {k: run['scores'].get(k) for k in OVER_SEEDS}
        values = {k: np.nan if v is None else v for k, v in values.items()}
        scores.setdefault(run['method'], {})[run['seed']] = values
    return scores


def _paired(by_method: dict[str, dict], baseline: str) -> dict[str, dict]:
    """The methods with a seed in common with the baseline; a side without seeds stands for every one.

    Where both sides have none they are a single pair, however many seeds the other methods have.
    """
    own = by_method[baseline]
    if None in own:
        seeds = dict.fromkeys(seed for values in by_method.values() for seed in values)
        return {**by_method, baseline: dict.fromkeys(seeds, own[None])}
    spread = {
        method: dict.fromkeys(own, values[None]) if None in values else values
        for method, values in by_method.items()
    }
    return {method: values for method, values in spread.items() if set(values) & set(own)}


def recommend(results: dict, score: str) -> dict | None:
    """The method with the best score on dev, seed by seed, and what test says of it.

    Convention: a method's mean is the baseline's plus the mean difference on the seeds that both
    have; one without a seed in common cannot be chosen, nor can the checkpoint.

    Args:
        results: With ``runs`` and ``differences``.
        score: Chosen by.

    Returns:
        ``method, score, dev, test`` (means of the score), ``baseline``, ``against`` (rows of
        differences on test), ``confirmed`` (better than the baseline on test, by the adjusted p)
        and ``text``, the sentences of the page. None where nothing was scored on dev.
    """
    runs = [run for run in results['runs'] if not is_checkpoint(run['method'])]
    on_dev = _by_seed(runs, 'dev', score)
    dev = _means(on_dev)
    if not dev:
        return None
    test = _means(_by_seed(results['runs'], 'test', score))
    sign = direction(score)
    method = max(dev, key=lambda name: sign * dev[name])
    baseline = runs[0]['method']  # whether or not its score is defined
    against = [
        row
        for row in results['differences']
        if row['score'] == score and row['split'] == 'test' and row['method'] == method
    ]
    better = [row['baseline'] for row in against if is_better(row)]
    return {
        'method': method,
        'score': score,
        'dev': dev[method],
        'test': test.get(method),
        'baseline': baseline,
        'against': against,
        'confirmed': baseline in better,
        'text': [
            *_on_dev(runs, method, baseline, score, dev),
            *_unpaired(on_dev),
            *_on_test(results, method, baseline, score, test),
        ],
    }


def missing_dev(results: dict) -> str:
    """What it means that validation and test data share images; empty where they share none."""
    setting = results['setting']
    if setting.get('dev_is_test'):
        chosen = (
            'what is chosen on them has not been tested'
            if results.get('verb') == 'screen'
            else 'there is nothing to choose by, so no method is recommended'
        )
        found = f'The config has no val data apart from its test data: {chosen}'
    elif shared := setting.get('dev_images_in_test'):
        found = (
            f'Val and test data share {number_of(shared, "image")}: test is no independent check'
        )
    else:
        return ''
    return f'{found}. Give val_dataloader a split of its own.'


def _by_seed(runs: Sequence[dict], split: str, score: str) -> dict[str, dict]:
    """A score of each method and seed, methods that lack a number left out."""
    values: dict[str, dict] = {}
    for run in runs:
        if run['split'] == split:
            value = run['scores'].get(score)
            values.setdefault(run['method'], {})[run['seed']] = np.nan if value is None else value
    return {m: of for m, of in values.items() if np.isfinite(list(of.values())).all()}


def _means(by_seed: dict[str, dict]) -> dict[str, float]:
    """Of each method the first one's mean plus the mean paired difference from it."""
    if not by_seed:
        return {}
    paired = _paired(by_seed, next(iter(by_seed)))
    first = next(iter(paired.values()))
    mean = np.mean(list(first.values()))
    return {
        method: float(mean + np.mean([of[seed] - first[seed] for seed in of if seed in first]))
        for method, of in paired.items()
    }


def _unpaired(by_seed: dict[str, dict]) -> list[str]:
    """Which methods have other seeds than the first, and what that means."""
    first, *others = by_seed
    common = {m: sorted(set(by_seed[m]) & set(by_seed[first])) for m in others}
    none = ', '.join(m for m in others if not common[m])
    some = ', '.join(
        f'{m} ({", ".join(map(str, common[m]))})'
        for m in others
        if common[m] and set(by_seed[m]) != set(by_seed[first])
    )
    return [
        *([f'Compared with {first} on the seeds that both have: {some}.'] if some else []),
        *([f'Not compared, for want of a seed in common with {first}: {none}.'] if none else []),
    ]


def is_better(row: dict) -> bool:
    """Whether a row says that the method is better than its baseline."""
    found = verdict(_with_nan(row))
    return found == ('higher' if direction(row['score']) > 0 else 'lower')


def _with_nan(row: dict) -> dict:
    return {k: np.nan if v is None else v for k, v in row.items()}


def _on_dev(runs: Sequence[dict], method: str, baseline: str, score: str, dev: dict) -> list[str]:
    """What was chosen, and between what."""
    scored = list(dict.fromkeys(run['method'] for run in runs if run['split'] == 'dev'))
    defined = _by_seed(runs, 'dev', score)
    undefined = ', '.join(name for name in scored if name not in defined)
    chosen = (
        f'By {score} on dev, {method} is first of {len(dev)} methods '
        f'({_percent(dev[method])}; {baseline} {_percent(dev.get(baseline))}).'
    )
    if len(dev) == 1:
        only = 'with' if len(defined) == 1 else 'to compare by'
        chosen = f'On dev {method} is the only method {only} {score}: {_percent(dev[method])}.'
    kept = method == baseline and len(dev) + len(scored) - len(defined) > 1
    return [
        chosen,
        *([f'On dev {score} is not defined for {undefined}.'] if undefined else []),
        *([f'No method is above {baseline} on dev: keep {baseline}.'] if kept else []),
    ]


def _on_test(results: dict, method: str, baseline: str, score: str, test: dict) -> list[str]:
    """What test says of it, and whether of any method."""
    tested = [
        row
        for row in results['differences']
        if (row['score'], row['split']) == (score, 'test') and not np.isnan(_with_nan(row)['mean'])
    ]
    as_trained = f'the checkpoint as it was trained ({_percent(test.get(CHECKPOINT))} {score})'
    lines = [_against(row) for row in tested if row['method'] == method]
    for reference, name in ((CHECKPOINT, as_trained), (baseline, baseline)):
        rows = [row for row in tested if row['baseline'] == reference]
        if rows and not any(is_better(row) for row in rows if not is_checkpoint(row['method'])):
            lines.append(f'On test no method is significantly better than {name}.')
    return lines


def _against(row: dict) -> str:
    row = _with_nan(row)
    points = f'{row["mean"] * 100:+.1f} points of {row["score"]}'
    if np.isnan(row['p_holm']):
        return (
            f'On test it has {points} over {row["baseline"]}, without an interval: that needs two '
            'seeds or more, and images in two groups or more.'
        )
    said = verdict(row)
    end = said if said == UNDECIDED else f'{said} than {row["baseline"]}'
    return (
        f'On test it has {points} over {row["baseline"]} (95 % interval {row["low"] * 100:+.1f} to '
        f'{row["high"] * 100:+.1f}, Holm-adjusted p {row["p_holm"]:.2g}): {end}.'
    )


def _percent(value: float | None) -> str:
    return 'n/a' if value is None else f'{value * 100:.1f}'
