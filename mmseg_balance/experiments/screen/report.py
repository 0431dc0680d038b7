"""results.json, tables and page of a screening."""

from collections.abc import Sequence
from pathlib import Path

from mmseg_balance.experiments.collection import collect
from mmseg_balance.experiments.recommendation import CHECKPOINT, all_differences, recommend
from mmseg_balance.experiments.report import write_report
from mmseg_balance.experiments.results import load_results, save_results
from mmseg_balance.experiments.screen.passes import HeadJob
from mmseg_balance.experiments.strips import collect_strips
from mmseg_balance.experiments.tables import write_tables
from mmseg_balance.experiments.tuning import trial_results


def write_results(
    work_dir: Path,
    facts: dict,
    jobs: Sequence[HeadJob],
    trials: Sequence[HeadJob],
    final: bool = True,
) -> None:
    """Write what there is of a screening.

    Args:
        work_dir: Its folder.
        facts: Setting, environment and calls.
        jobs: Heads that this call asks for; those of earlier calls are reported too.
        trials: Heads of the tuning.
        final: Whether everything is done; differences are left out before.
    """
    calls = facts['calls']
    order = list(dict.fromkeys(method for call in calls for method in call['methods']))
    results = collect(work_dir, calls[0]['base_hash'], [*order, CHECKPOINT])
    about = facts['setting']
    results['trials'] = trial_results(trials)
    results['differences'] = all_differences(results, work_dir, about['groups']) if final else []
    results['recommended'] = recommend(results, about['choose_by'])
    results['strips'] = collect_strips(results, work_dir, about['strips'])
    save_results({**facts, **results}, work_dir)
    results = load_results(work_dir)
    write_tables(results, work_dir)
    write_report(results, work_dir)
