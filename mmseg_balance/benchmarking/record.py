"""The environment of a measurement, its table on the terminal, its JSON file."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch
from rich.table import Table

from mmseg_balance.runtime.atomic_files import write_text
from mmseg_balance.runtime.console import wide_console
from mmseg_balance.runtime.environment import processor, versions


def environment(device: str, clock: str, seed: int, also: Sequence[str] = ()) -> dict:
    """Device, versions (of the packages in ``also``, too), date, seed and load of the machine."""
    name = torch.cuda.get_device_name() if device == 'cuda' else processor()
    return dict(
        device=device,
        device_name=name,
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        clock=clock,
        load_average=[round(load, 2) for load in os.getloadavg()],
        seed=seed,
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        python=platform.python_version(),
        versions=versions(also),
    )


def show(rows: list[dict], title: str) -> None:
    """Print rows with equal keys as a table."""
    table = Table(title=title, title_justify='left')
    for key in rows[0]:
        table.add_column(key, justify='left' if isinstance(rows[0][key], str) else 'right')
    for row in rows:
        table.add_row(*map(_text, row.values()))
    wide_console().print(table)


def markdown(rows: list[dict]) -> str:
    """Rows with equal keys as a Markdown table.

    Example:
        >>> print(markdown([{'loss': 'a', 'ratio': 1.5}]))
        | loss | ratio |
        |---|---|
        | a | 1.5 |
    """
    lines = ['| ' + ' | '.join(rows[0]) + ' |', '|' + '---|' * len(rows[0])]
    lines += ['| ' + ' | '.join(map(_text, row.values())) + ' |' for row in rows]
    return '\n'.join(lines)


def write(path: Path, benchmark: str, tables: list[dict]) -> list[dict]:
    """Write the measurement, and return all tables of the file.

    A table takes the place of one with its title that the file has; the others stay, so that a
    shape can be measured again without the rest.

    Args:
        path: a JSON file, which need not be there.
        benchmark: such as ``losses``.
        tables: each ``{'title': …, 'environment': …, 'rows': […]}``.
    """
    before = json.loads(path.read_text(encoding='utf-8'))['tables'] if path.is_file() else []
    by_title = {table['title']: table for table in [*before, *tables]}
    record = dict(benchmark=benchmark, tables=list(by_title.values()))
    write_text(path, json.dumps(record, indent=1) + '\n')
    return record['tables']


def write_markdown(path: Path, section: str, tables: list[dict]) -> None:
    """Write the tables, with their environment above them.

    Args:
        path: a page, which need not be there; see :func:`replace_section`.
        section: such as ``losses cpu``.
        tables: as for :func:`write`.
    """
    blocks, above = [], None
    for table in tables:
        if table['environment'] != above:
            above = table['environment']
            blocks.append(_sentence(above))
        blocks += [f'**{table["title"]}**', markdown(table['rows'])]
    replace_section(path, section, '\n\n'.join(blocks))


def replace_section(path: Path, section: str, text: str) -> None:
    """Put the text between the marks of a section; a page without them gets them at its end.

    The marks are the lines ``<!-- benchmark: section -->`` and, further down, ``<!-- end -->``.

    Raises:
        ValueError: the page has the first mark alone.
    """
    start, end = f'<!-- benchmark: {section} -->', '<!-- end -->'
    page = path.read_text(encoding='utf-8') if path.is_file() else ''
    before, marked, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if marked and not closed:
        raise ValueError(f'{path} has no {end} below {start}: add that line where the section ends')
    if not marked:
        before, after = f'{before.rstrip()}\n\n' if before.strip() else '', '\n'
    write_text(path, f'{before}{start}\n{text}\n{end}{after}')


def _sentence(facts: dict) -> str:
    found = ', '.join(f'{name} {version}' for name, version in facts['versions'].items())
    return (
        f'{facts["device_name"]}, {facts["threads"]} of {facts["cores"]} cores, '
        f'{facts["clock"]} clock, load average {facts["load_average"][0]} at the start, seed '
        f'{facts["seed"]}, {facts["date"][:10]}; Python {facts["python"]}, {found}.'
    )


def _text(value) -> str:
    if value is None:
        return ''
    return f'{value:.4g}' if isinstance(value, float) else str(value)
