"""report.html: one page that needs nothing else, made from results.json."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from mmseg_balance.experiments.differences import UNDECIDED, verdict
from mmseg_balance.experiments.figures import draw_all, method_colours
from mmseg_balance.experiments.per_class import FULL_COLOUR, class_table, gain_colour
from mmseg_balance.experiments.progress import time_text
from mmseg_balance.experiments.recommendation import missing_dev
from mmseg_balance.experiments.strips import paint, read_labels
from mmseg_balance.experiments.summary import (
    Cell,
    Column,
    Method,
    columns_of,
    mean_of,
    methods_of,
    summarise,
)
from mmseg_balance.experiments.tables import (
    DIFFERENCE_SCORES,
    baselines,
    difference_rows,
    tried_text,
)
from mmseg_balance.runtime.atomic_files import write_text

HERE = Path(__file__).parent
QUESTIONS = (
    ('mIoU', 'Best overlap', 'mIoU'),
    ('mRecall', 'Finds most of every class', 'recall'),
    ('mIoU_tail', 'Best on rare classes', 'tail mIoU'),
    ('cal', 'Most honest probabilities', 'calibration'),
)


@dataclass(frozen=True)
class Verdict:
    """One answer at the top of the page."""

    question: str
    score: str
    methods: str
    value: str
    against: str


def write_report(results: dict, work_dir: Path) -> Path:
    """Writes ``report.html``; pictures are read from ``work_dir`` and embedded."""
    path = work_dir / 'report.html'
    write_text(path, render(results, work_dir))
    return path


def render(results: dict, work_dir: Path) -> str:
    """The page as text."""
    methods = methods_of(results)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters['time'] = lambda s: 'n/a' if s is None else time_text(s)
    columns = columns_of(results)
    table = summarise(methods, columns) if methods else []
    return environment.get_template('report.html.jinja').render(
        style=Markup((HERE / 'report.css').read_text(encoding='utf-8')),  # noqa: S704  our own file
        results=results,
        methods=methods,
        columns=columns,
        table=table,
        colours=method_colours(methods),
        verdicts=verdicts(methods, columns, table, results.get('differences', [])),
        figures=draw_all(results, methods),
        class_tables=[class_table(results, methods, s) for s in ('IoU', 'recall')]
        if methods
        else [],
        full_colour=FULL_COLOUR,
        gain_colour=gain_colour,
        strips=strip_pictures(results.get('strips', {}), work_dir),
        legend=strip_legend(results),
        failed=results['unfinished'],
        dev={m.name: m for m in methods_of(results, 'dev')},
        mean_of=mean_of,
        baselines=baselines(results) if results.get('differences') else [],
        difference_rows=lambda baseline: difference_rows(results, baseline),
        difference_scores=DIFFERENCE_SCORES,
        tried=tried_text(results),
        missing_dev=missing_dev(results),
        verb=results.get('verb', 'compare'),
        several_seeds=any(len(m.runs) > 1 for m in methods),
    )


def verdicts(
    methods: Sequence[Method],
    columns: Sequence[Column],
    table: Sequence[Sequence],
    differences: Sequence[dict] = (),
) -> list[Verdict]:
    """Who is best at what, by how much over the first method, and whether that is significant."""
    if len(methods) < 2:
        return []
    first = methods[0]
    rows = {
        (row['score'], row['method']): row
        for row in differences
        if (row['split'], row['baseline']) == ('test', first.name)
    }
    keys = [c.key for c in columns]
    found = []
    for key, question, score in QUESTIONS:
        if key not in keys:
            continue
        cells = [row[keys.index(key)] for row in table]
        winners = [m for m, cell in zip(methods, cells, strict=True) if cell.rank == 1]
        value = next((c for c in cells if c.rank == 1), None)
        if value is not None:
            row = rows.get((key, winners[0].name))
            found.append(
                Verdict(
                    question,
                    score,
                    ', '.join(m.name for m in winners),
                    value.text(),
                    _against(first, cells[0], winners, value, row),
                )
            )
    return found


def _share_a_seed(first: Method, other: Method) -> bool:
    """The checkpoint, which has no seeds, can be compared with every one."""
    return not (first.seeds and other.seeds) or not set(first.seeds).isdisjoint(other.seeds)


def _against(
    first: Method, own: Cell, winners: Sequence[Method], best: Cell, row: dict | None
) -> str:
    name = first.name
    if first in winners:
        return 'the first loss is not beaten' if len(winners) == 1 else 'a tie'
    if own.mean is None:
        return f'{name}: n/a'
    gain = f'{best.mean - own.mean:+.{best.digits}f} over {name}'
    if not _share_a_seed(first, winners[0]):
        return f'{gain}, no seed in common'
    if row is None or row['mean'] is None:
        return gain
    gain = f'{row["mean"] * 100:+.1f} over {name}'  # on the seeds that both have
    if row['p_holm'] is None:
        return f'{gain}, without an interval'
    return f'{gain}, {UNDECIDED}' if verdict(row) == UNDECIDED else gain


def strip_pictures(strips: dict, work_dir: Path) -> list[dict]:
    """The strips with their pictures as data URLs; one whose files are gone is left out."""
    rows = []
    for picture in strips.get('pictures', []):

        def painted(relative: str) -> str:
            labels = read_labels(work_dir / relative)
            return png_url(paint(labels, strips['palette'], strips['ignore_index']))

        try:
            rows.append(
                {
                    'name': picture['name'],
                    'disagreement': picture['disagreement'],
                    'input': jpeg_url(work_dir / picture['input']) if picture['input'] else None,
                    'truth': painted(picture['truth']),
                    'predictions': [
                        (method, painted(p['path']), p['mIoU'])
                        for method, p in picture['predictions'].items()
                    ],
                }
            )
        except FileNotFoundError:
            continue
    return rows


def strip_legend(results: dict) -> list[tuple[str, str]]:
    """Class names and colours of the classes that the strips show."""
    strips = results.get('strips', {})
    shown = sorted({c for p in strips.get('pictures', []) for c in p['classes']})
    return [
        (results['classes'][c], hex_colour(strips['palette'][c]))
        for c in shown
        if c < len(results['classes'])
    ]


def hex_colour(rgb: Sequence[int]) -> str:
    """A colour as a page writes it.

    >>> hex_colour([255, 128, 0])
    '#ff8000'
    """
    return '#' + ''.join(f'{int(x):02x}' for x in rgb)


def png_url(image) -> str:
    """A picture as a data URL."""
    out = io.BytesIO()
    image.save(out, 'PNG', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(out.getvalue()).decode()


def jpeg_url(path: Path) -> str:
    """A JPEG file as a data URL."""
    return 'data:image/jpeg;base64,' + base64.b64encode(path.read_bytes()).decode()
