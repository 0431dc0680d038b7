"""Runs the sections, one process each, and writes what they found."""

import argparse
import json
import os
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch
from rich.console import Console

from mmseg_balance.benchmarking import record
from mmseg_balance.benchmarking.gpu_report.sections import Section, all_sections
from mmseg_balance.runtime.atomic_files import write_text
from mmseg_balance.runtime.environment import environment
from mmseg_balance.runtime.processes import last_words, run_process

SECONDS = 530.0
TIMED_OUT = 'timed out'
PAGE_SECTION = 'gpu report'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the options of the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/gpu_report'), help='folder of JSON and logs'
    )
    parser.add_argument(
        '--markdown',
        type=Path,
        metavar='FILE',
        help='also put the tables into their place in this page, such as docs/benchmarks.md',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='on a CPU, kernels in the interpreter, small shapes: does every section still run?',
    )
    parser.add_argument(
        '--only',
        nargs='+',
        metavar='SECTION',
        help='these sections alone; the folder keeps what it has of the others',
    )
    parser.add_argument(
        '--seconds', type=float, default=SECONDS, help='for all sections together (default: 530)'
    )
    args = parser.parse_args(argv)
    if not args.dry_run and not torch.cuda.is_available():
        parser.error('PyTorch sees no GPU here; --dry-run tries the sections on a CPU')
    return args


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 1 if a section failed."""
    args = parse_args(argv)
    sections = all_sections(args.out, args.dry_run, torch.cuda.device_count())
    names = [section.name for section in sections]
    if unknown := set(args.only or ()) - set(names):
        raise SystemExit(f'--only: {", ".join(sorted(unknown))}: choose from {", ".join(names)}')
    if args.only:
        sections = [section for section in sections if section.name in args.only]
    args.out.mkdir(parents=True, exist_ok=True)
    end, found = time.monotonic() + args.seconds, {}
    kept = sections_of(args.out / 'report.json') if args.only else {}
    for section in sections:
        found[section.name] = run_section(section, args, end)
        ordered = {name: {**kept, **found}.get(name) for name in names}
        # After each, so that a report that is stopped has what it found.
        write(args, [result for result in ordered.values() if result])
    print(f'report: {args.out / "report.json"}, {args.out / "report.md"}')
    return int(any(result['state'] != 'done' for result in found.values()))


def sections_of(path: Path) -> dict[str, dict]:
    """The sections that a report has, by name; none where there is no report."""
    if not path.is_file():
        return {}
    sections = json.loads(path.read_text(encoding='utf-8'))['sections']
    return {section['name']: section for section in sections}


def run_section(section: Section, args: argparse.Namespace, end: float) -> dict:
    """State, seconds and tables of a section; a failure is noted, never raised."""
    section.output.unlink(missing_ok=True)
    log = args.out / f'{section.name}.log'
    log.unlink(missing_ok=True)
    started = time.monotonic()
    limit = end - started if args.dry_run else min(section.seconds, end - started)
    state = _state_of(section, args, log, limit) if limit > 0 else 'no time left'
    seconds = time.monotonic() - started
    tables, problem = [], ''
    try:
        tables = tables_of(section.output) if section.output.is_file() else []
    except (ValueError, KeyError, ElementTree.ParseError) as error:
        state, problem = 'failed', f'{section.output}: {error}'
    if not tables and state == 'done':
        state, problem = 'failed', f'{section.output} has no table'
    if state != 'done':
        problem = problem or last_words(log)
    Console().print(f'{section.name}: {state}, {seconds:.0f} s', highlight=False)
    if problem:
        print(problem)
    return dict(
        name=section.name,
        title=section.title,
        state=state,
        seconds=round(seconds, 1),
        command=section.command,
        tables=tables,
        problem=problem,
    )


def _state_of(section: Section, args: argparse.Namespace, log: Path, limit: float) -> str:
    end = time.monotonic() + limit

    def check_time() -> None:
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired(section.command, limit)

    try:
        status = run_process(section.command, log, check_time, environment=variables(args.dry_run))
    except subprocess.TimeoutExpired:
        return TIMED_OUT
    return 'done' if status == 0 else 'failed'


def variables(dry_run: bool) -> dict[str, str]:
    """Environment of the sections; in a dry run the kernels are interpreted."""
    chosen = {**os.environ, 'OMP_NUM_THREADS': '1'}
    if dry_run:
        chosen.update(CUDA_VISIBLE_DEVICES='', MMSEG_BALANCE_BACKEND='triton', TRITON_INTERPRET='1')
    return chosen


def tables_of(path: Path) -> list[dict]:
    """Tables of a section's file: its own JSON, or counts and failures of pytest's XML."""
    if path.suffix == '.json':
        return json.loads(path.read_text(encoding='utf-8'))['tables']
    suite = ElementTree.parse(path).getroot()  # noqa: S314  pytest's own file
    suite = suite.find('testsuite') if suite.tag == 'testsuites' else suite
    counts = {key: int(suite.get(key)) for key in ('tests', 'failures', 'errors', 'skipped')}
    if not counts['tests']:
        raise ValueError('no test was run')
    counts['passed'] = counts['tests'] - sum(counts[k] for k in ('failures', 'errors', 'skipped'))
    bad = [
        {'test': case.get('name'), 'message': (problem.get('message') or '')[:200]}
        for case in suite.iter('testcase')
        for problem in (case.find('failure'), case.find('error'))
        if problem is not None
    ]
    tables = [dict(title='tests', rows=[counts])]
    return [*tables, dict(title='failed', rows=bad)] if bad else tables


def write(args: argparse.Namespace, found: list[dict]) -> None:
    """``report.json``, ``report.md`` and, if wanted, their place in a page."""
    facts = environment()
    report = dict(dry_run=args.dry_run, environment=facts, sections=found)
    write_text(args.out / 'report.json', json.dumps(report, indent=1) + '\n')
    text = page(report)
    write_text(args.out / 'report.md', text + '\n')
    if args.markdown:
        record.replace_section(args.markdown, PAGE_SECTION, text)


def page(report: dict) -> str:
    """The tables of all sections in Markdown, with their environment and what failed.

    Example:
        >>> print(page({'dry_run': True, 'environment': {'machine': 'a CPU'}, 'sections': [
        ...     {'title': 'Tests', 'state': 'done', 'seconds': 2,
        ...      'tables': [{'title': 't', 'rows': [{'a': 1}]}]}]}))
        Dry run, no measurement. machine a CPU.
        <BLANKLINE>
        ### Tests: done, 2 s
        <BLANKLINE>
        **t**
        <BLANKLINE>
        | a |
        |---|
        | 1 |
    """
    facts = ', '.join(f'{name} {value}' for name, value in report['environment'].items())
    blocks = [('Dry run, no measurement. ' if report['dry_run'] else '') + facts + '.']
    for section in report['sections']:
        blocks.append(f'### {section["title"]}: {section["state"]}, {section["seconds"]:.0f} s')
        if note := section.get('note'):  # what a person says of it, in the JSON file
            blocks.append(note)
        for table in section['tables']:
            blocks += [f'**{table["title"]}**', record.markdown(table['rows'])]
    return '\n\n'.join(blocks)
