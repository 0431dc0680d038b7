"""The findings on a terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mmseg_balance.doctor.examination import Examination
from mmseg_balance.doctor.findings import Finding, count
from mmseg_balance.doctor.imbalance_view import class_rows
from mmseg_balance.experiments.progress import number_of

STYLES = {'error': 'bold red', 'warning': 'yellow', 'advice': 'cyan'}


def findings_table(findings: Sequence[Finding]) -> Table:
    """One row a finding, errors first."""
    table = Table(show_lines=True, expand=True)
    table.add_column('finding', ratio=2, overflow='fold')
    table.add_column('what it does', ratio=5, overflow='fold')
    table.add_column('change', ratio=5, overflow='fold')
    for one in findings:
        style = STYLES[one.severity]
        head = Text.assemble((one.severity, style), '\n', one.check)
        what = Text.assemble((one.where, 'bold'), '\n', one.message)
        table.add_row(head, what, Text(one.change))
    return table


def imbalance_table(examination: Examination) -> Table | None:
    """Pixels, images and crops of each class, if the labels were read."""
    rows = class_rows(examination)
    if not rows:
        return None
    table = Table(title='classes of the training set')
    table.add_column('class')
    names = (
        'of labelled pixels',
        'of images',
        'of crops',
        'of batches',
        'iterations to 100 crops',
        'parts lost',
    )
    for name in names:
        table.add_column(name, justify='right')
    for row in rows:
        table.add_row(
            row.name,
            row.pixels,
            row.images,
            row.crops,
            row.batches,
            row.iterations,
            row.lost,
            style='bold' if row.rare else '',
        )
    return table


def summary(findings: Sequence[Finding]) -> Text:
    """How many of each severity."""
    errors, warnings, advice = count(findings).values()
    parts = [number_of(errors, 'error'), number_of(warnings, 'warning'), f'{advice} advice']
    return Text(', '.join(parts), style='bold')
