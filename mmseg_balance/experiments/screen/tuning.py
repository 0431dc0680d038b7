"""The best of the settings that were tried, for every method."""

from collections.abc import Sequence

from mmseg_balance.experiments.recommendation import direction
from mmseg_balance.experiments.results import read_json
from mmseg_balance.experiments.screen.passes import HeadJob


def trial_results(jobs: Sequence[HeadJob]) -> list[dict]:
    """Every trial with its scores on dev; those that failed have none."""
    return [
        {
            'method': job.head_run.method,
            'setting': job.head_run.trial,
            'settings': dict(job.head_run.settings),
            'seed': job.head_run.run.seed,
            'split': 'dev',
            'scores': _scores(job),
            'error': '' if job.finished else job.folder.state.get('error', ''),
        }
        for job in jobs
    ]


def _scores(job: HeadJob) -> dict:
    if not job.finished:
        return {}
    folder = job.folder.scores('dev')
    return {
        **read_json(folder / 'imbalance.json')['scores'],
        **read_json(folder / 'calibration.json')['scores'],
    }


def best_settings(jobs: Sequence[HeadJob], score: str) -> dict[str, dict]:
    """Of each method the settings with the best score; the first of equals."""
    best: dict[str, tuple[float, dict]] = {}
    for trial in trial_results(jobs):
        value = trial['scores'].get(score)
        if value is None or value != value:
            continue
        value *= direction(score)
        if trial['method'] not in best or value > best[trial['method']][0]:
            best[trial['method']] = (value, trial['settings'])
    return {method: settings for method, (_, settings) in best.items()}
