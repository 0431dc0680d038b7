"""From run folders to results.json, tables and page, for both verbs; and how a verb starts and ends."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from mmseg_balance.experiments.collection import collect
from mmseg_balance.experiments.numbers import check_numbers
from mmseg_balance.experiments.plan import CHECKPOINT
from mmseg_balance.experiments.recommendation import (
    all_differences,
    check_score,
    missing_dev,
    recommend,
)
from mmseg_balance.experiments.report import write_report
from mmseg_balance.experiments.results import load_results, read_json, save_results
from mmseg_balance.experiments.strips import collect_strips
from mmseg_balance.experiments.tables import write_tables
from mmseg_balance.runtime.launching import words_of

CHOICES = {'choose_by': 'mIoU', 'groups': 'images', 'strips': 6}
INTERRUPTED = 130  # the shell's exit status after Ctrl-C


def run_verb(args: argparse.Namespace, verb: str, run: Callable[[], int]) -> int:
    """Start ``compare`` or ``screen``; 2 if an input is at fault, 130 if stopped at any point."""
    if args.work_dir is None:
        args.work_dir = Path('work_dirs', verb, Path(args.config).stem)
    if args.launcher is None:
        args.launcher = 'pytorch' if args.gpus > 1 else 'none'
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends like Ctrl-C
    try:
        check_numbers(args)
        return report_again(args) if args.report_only else run()
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here')
        return INTERRUPTED
    except Exception as error:
        said = words_of(error)
        if said is None:
            raise
        print(f'error: {said}', file=sys.stderr)
        return 2


def choices(args: argparse.Namespace, before: dict | None = None) -> dict:
    """What a report is judged by: as the options say, as it was ``before``, or by default."""
    given = {key: getattr(args, key) for key in CHOICES if getattr(args, key) is not None}
    return {key: given.get(key, (before or {}).get(key, CHOICES[key])) for key in CHOICES}


def report_again(args: argparse.Namespace) -> int:
    """Judge and report on what is finished, without config, checkpoint or data.

    Raises:
        ValueError: there are no results, or the options do not fit them.
    """
    if getattr(args, 'keep', None):
        raise ValueError('--keep reads the checkpoint: give it without --report-only.')
    results = load_results(args.work_dir)
    chosen = choices(args, results['setting'])
    check_score(chosen['choose_by'])
    facts = {
        'verb': results.get('verb', 'compare'),
        'setting': {**results['setting'], **chosen},
        'environment': results['environment'],
        'calls': results['calls'],
    }
    publish(args.work_dir, facts, [])
    announce(args.work_dir)
    return 0


def publish(work_dir: Path, facts: dict, trials: list[dict], final: bool = True) -> None:
    """Write what there is of a comparison or a screening.

    Args:
        work_dir: Its folder.
        facts: Verb, setting, environment and calls.
        trials: Of this call; those that earlier ones made of other methods stay.
        final: Whether everything is done; differences are left out before.
    """
    about, calls = facts['setting'], facts['calls']
    order = list(dict.fromkeys(method for call in calls for method in call['methods']))
    results = collect(work_dir, calls[0]['base_hash'], [*order, CHECKPOINT])
    results['trials'] = all_trials(work_dir, calls[0]['base_hash'], trials)
    results['differences'] = all_differences(results, work_dir, about['groups']) if final else []
    results['recommended'] = recommend(results, about['choose_by'])
    results['strips'] = collect_strips(results, work_dir, about['strips'])
    save_results({**facts, **results}, work_dir)
    write_files(work_dir)


def calls_so_far(work_dir: Path, call: dict) -> list[dict]:
    """The calls that the comparison grew by.

    Their methods in turn are the report's order, its first one what gains are measured against. A
    call that names all methods of an earlier one takes its place.
    """
    earlier = [
        other
        for other in read_json(work_dir / 'results.json', {}).get('calls', [])
        if other['base_hash'] == call['base_hash']
    ]
    replaced = [set(other['methods']) <= set(call['methods']) for other in earlier]
    calls = [other for other, gone in zip(earlier, replaced, strict=True) if not gone]
    calls.insert(replaced.index(True) if any(replaced) else len(calls), call)
    return calls


def all_trials(work_dir: Path, base_hash: str, trials: list[dict]) -> list[dict]:
    """These trials and, of results.json of the same base config, those of other methods."""
    before = read_json(work_dir / 'results.json', {})
    same = any(call['base_hash'] == base_hash for call in before.get('calls', []))
    again = {trial['method'] for trial in trials}
    kept = [trial for trial in before.get('trials', []) if same and trial['method'] not in again]
    return [*kept, *trials]


def write_files(work_dir: Path) -> None:
    """Tables and page from results.json alone (and the pictures that it names)."""
    results = load_results(work_dir)
    write_tables(results, work_dir)
    write_report(results, work_dir)


def announce(work_dir: Path) -> None:
    """Say where the page is, and what it recommends."""
    results = load_results(work_dir)
    lines = [missing_dev(results), *(results['recommended'] or {}).get('text', [])]
    for line in filter(None, lines):
        print(line)
    print(f'report: {work_dir / "report.html"}')
