"""table.md and table.csv."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mmseg_balance.experiments.progress import time_text
from mmseg_balance.experiments.results import write_text
from mmseg_balance.experiments.summary import Cell, Method, columns_of, methods_of, summarise


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
    """The summary table with its caption: data, length, seeds, time, machine, versions."""
    methods = methods_of(results)
    if not methods:
        return 'No run has finished.\n'
    columns = columns_of(results)
    head = ['loss', *(markdown_name(c.title) for c in columns), 'seeds', 'training']
    rows = [
        [
            markdown_name(method.name),
            *map(markdown_cell, cells),
            ', '.join(map(str, method.seeds)),
            _time(method),
        ]
        for method, cells in zip(methods, summarise(methods, columns), strict=True)
    ]
    lines = [
        ' | '.join(head),
        ' | '.join(['---', *['---:'] * (len(head) - 1)]),
        *(' | '.join(row) for row in rows),
    ]
    table = '\n'.join(f'| {line} |' for line in lines)
    return f'{table}\n\n{caption(results, methods)}\n'


def caption(results: dict, methods: Sequence[Method]) -> str:
    """What the numbers are and where they come from, in a few sentences."""
    setting, found = results['setting'], results['environment']
    spread = (
        'mean ± standard deviation over seeds'
        if any(len(m.runs) > 1 for m in methods)
        else 'one seed, so differences of a point or two may be chance'
    )
    versions = ', '.join(
        f'{k} {v}' for k, v in found.items() if k not in ('machine', 'cores', 'date', 'python')
    )
    commands = ' and '.join(f'`{call["command"]}`' for call in results['calls'])
    return (
        f'Scores in % ({spread}); best bold, second best underlined; n/a: a class is never '
        f'found. {setting["config"]}, {setting["length"]}, tested on '
        f'{setting["test_images"]} images. {found["machine"]}; {versions}; {found["date"][:10]}. '
        f'Made by {commands}.'
    )


def _time(method: Method) -> str:
    seconds = method.seconds('train')
    return 'n/a' if seconds is None else time_text(seconds)


def csv_table(results: dict) -> str:
    """One line per run: plain numbers at full precision, for other programs."""
    scores = [c.key for c in columns_of(results)]
    classes = results['classes']
    head = [
        'method',
        'loss',
        'sampler',
        'seed',
        'state',
        *scores,
        'train_seconds',
        'test_seconds',
        *(f'{s}/{c}' for s in ('IoU', 'recall') for c in classes),
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(head)
    for run in results['runs']:
        values = run.get('scores', {})
        per_class = run.get('per_class', {})
        writer.writerow(
            [
                run['method'],
                run['loss'],
                run['sampler'],
                run['seed'],
                run['state'],
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
