"""table.md and table.csv."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmseg_balance.experiments.differences import UNDECIDED, verdict
from mmseg_balance.experiments.plan import CHECKPOINT
from mmseg_balance.experiments.progress import time_text
from mmseg_balance.experiments.recommendation import missing_dev
from mmseg_balance.experiments.summary import (
    Cell,
    Method,
    columns_of,
    mean_of,
    methods_of,
    summarise,
)
from mmseg_balance.runtime.atomic_files import write_text


def markdown_cell(cell: Cell) -> str:
    """Best bold, second best underlined.

    >>> markdown_cell(Cell(51.26, None, rank=1)), markdown_cell(Cell(51.26, .3, rank=2))
    ('**51.3**', '<u>51.3 ± 0.3</u>')
    """
    text = cell.text()
    return {1: f'**{text}**', 2: f'<u>{text}</u>'}.get(cell.rank, text)


def markdown_name(name: str) -> str:
    """Escapes what would end a table's cell."""
    return name.replace('|', '\\|').replace('_', '\\_')


def markdown_table(results: dict) -> str:
    """The summary table with its caption (data, length, seeds, machine, versions), and what follows.

    What follows: the recommendation and the differences, where there are any.
    """
    methods = methods_of(results)
    if not methods:
        return 'No run has finished.\n'
    columns = columns_of(results)
    dev = {method.name: method for method in methods_of(results, 'dev')}
    head = ['loss', *(markdown_name(c.title) for c in columns), 'seeds', 'training']
    if dev:
        head.insert(1, 'mIoU (dev)')
    rows = []
    for method, cells in zip(methods, summarise(methods, columns), strict=True):
        row = [
            markdown_name(method.name),
            *map(markdown_cell, cells),
            ', '.join(map(str, method.seeds)) or '-',
            _time(method),
        ]
        if dev:
            row.insert(1, mean_of(dev.get(method.name), 'mIoU').text())
        rows.append(row)
    table = _markdown([head, *rows])
    parts = [table, caption(results, methods)]
    lines = [missing_dev(results), *(results.get('recommended') or {}).get('text', [])]
    if any(lines):
        parts.append(' '.join(filter(None, lines)))
    if results.get('differences'):
        parts += [difference_table(results, base) for base in baselines(results)]
    return '\n\n'.join(parts) + '\n'


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [' | '.join(row) for row in rows]
    lines.insert(1, ' | '.join(['---', *['---:'] * (len(rows[0]) - 1)]))
    return '\n'.join(f'| {line} |' for line in lines)


DIFFERENCE_SCORES = ('mIoU', 'mIoU_I', 'mIoU_tail', 'mRecall', 'acc', 'cal')


def baselines(results: dict) -> list[str]:
    """What the methods are compared with: the first method, and the checkpoint."""
    return list(dict.fromkeys(row['baseline'] for row in results['differences']))


def difference_rows(results: dict, baseline: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of every method the differences on test as text, and ``'higher'``, ``'lower'`` or ``''``."""
    cells: dict[str, dict[str, tuple[str, str]]] = {}
    for row in results['differences']:
        if (row['baseline'], row['split']) == (baseline, 'test'):
            cells.setdefault(row['method'], {})[row['score']] = _difference(row)
    return [
        (method, [found.get(score, ('n/a', '')) for score in DIFFERENCE_SCORES])
        for method, found in cells.items()
    ]


def _difference(row: dict) -> tuple[str, str]:
    if row['mean'] is None:
        return 'n/a', ''
    mean = f'{row["mean"] * 100:+.1f}'
    if row['low'] is None or row['p_holm'] is None:
        return mean, ''
    said = verdict(row)
    text = f'{mean} [{row["low"] * 100:+.1f}, {row["high"] * 100:+.1f}]'
    return text, '' if said == UNDECIDED else said


def difference_table(results: dict, baseline: str) -> str:
    """Differences from a baseline on test, significant ones bold."""
    rows = [
        [markdown_name(method), *(f'**{text}**' if said else text for text, said in cells)]
        for method, cells in difference_rows(results, baseline)
    ]
    head = ['method', *map(markdown_name, DIFFERENCE_SCORES)]
    return (
        f'Differences from {baseline} on test in points, 95 % interval over seeds and images '
        '(calibration scores: over seeds alone); bold: Holm-adjusted p < 0.05, all others are not '
        f'significant.\n\n{_markdown([head, *rows])}'
    )


def caption(results: dict, methods: Sequence[Method]) -> str:
    """What the numbers are and where they come from, in a few sentences."""
    setting, found = results['setting'], results['environment']
    spread = (
        'mean ± standard deviation over seeds'
        if any(len(m.runs) > 1 for m in methods)
        else 'one seed, so differences of a point or two may be chance'
    )
    tried = tried_text(results)
    versions = ', '.join(
        f'{k} {v}' for k, v in found.items() if k not in ('machine', 'cores', 'date', 'python')
    )
    commands = ' and '.join(f'`{call["command"]}`' for call in results['calls'])
    return (
        f'Scores in % ({spread}); best bold, second best underlined; n/a: a class is never '
        f'found. {tried + ". " if tried else ""}{setting["config"]}, {setting["length"]}, tested on '
        f'{setting["test_images"]} images. {found["machine"]}; {versions}; {found["date"][:10]}. '
        f'Made by {commands}.'
    )


def tried_text(results: dict) -> str:
    """How many settings the runs' own were chosen from on dev; nothing where they were not.

    >>> trials = [dict(method='ce', settings={}, chosen=False),
    ...           dict(method='ce', settings={'lr': 0.3}, chosen=True)]
    >>> run = dict(trained_as='ce', settings={'lr': 0.3})
    >>> tried_text({'trials': trials, 'runs': [run]})
    '2 settings tried for each method on dev'
    >>> tried_text({'trials': trials, 'runs': [run, dict(trained_as='dice', settings={})]})
    'Settings tried on dev: ce 2, dice 0'
    >>> tried_text({'trials': trials, 'runs': [dict(trained_as='ce', settings={})]})
    ''
    """
    trials = results.get('trials', [])
    tried = Counter(trial['method'] for trial in trials)
    chosen = {t['method']: t['settings'] for t in trials if t.get('chosen')}
    numbers: dict[str, int] = {}
    for run in results['runs']:
        method = run['trained_as']
        if method != CHECKPOINT:
            own = tried[method] if run['settings'] == chosen.get(method) else 0
            numbers[method] = min(own, numbers.get(method, own))
    if not any(numbers.values()):
        return ''
    if len(set(numbers.values())) == 1:
        return f'{next(iter(numbers.values()))} settings tried for each method on dev'
    return 'Settings tried on dev: ' + ', '.join(f'{m} {n}' for m, n in numbers.items())


def _time(method: Method) -> str:
    seconds = method.seconds('train')
    return 'n/a' if seconds is None else time_text(seconds)


def csv_table(results: dict) -> str:
    """One line per run, split and decision: plain numbers at full precision, for other programs."""
    scores = [c.key for c in columns_of(results)]
    classes = results['classes']
    known = ('method', 'loss', 'sampler', 'decision', 'seed', 'split', 'state')
    head = [
        *known,
        *scores,
        'train_seconds',
        'test_seconds',
        *(f'{s}/{c}' for s in ('IoU', 'recall') for c in classes),
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(head)
    for run in [*results['runs'], *results['unfinished']]:
        values = run.get('scores', {})
        per_class = run.get('per_class', {})
        writer.writerow(
            [
                *(run.get(key) for key in known),
                *(values.get(key) for key in scores),
                *(run['seconds'].get(stage) for stage in ('train', 'test')),
                *(v for s in ('IoU', 'recall') for v in per_class.get(s, [None] * len(classes))),
            ]
        )
    return out.getvalue()


def write_tables(results: dict, folder: Path) -> None:
    """Writes ``table.md`` and ``table.csv``."""
    write_text(folder / 'table.md', markdown_table(results))
    write_text(folder / 'table.csv', csv_table(results))
