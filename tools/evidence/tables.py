"""Tables of one study or several, in Markdown."""

from collections.abc import Sequence

from mmseg_balance.experiments.plan import is_checkpoint
from mmseg_balance.experiments.progress import number_of
from tools.evidence.store import SCORES, Study, found, marked, name_of, signed

NOTHING = '*Not measured yet.*'
SPLITS = {'official_val': 'official validation'}
HEADLINE = ('mIoU', 'mRecall', 'acc', 'cal')
LEGEND = (
    'Means over seeds on test, in %; in brackets the difference from the first row in points, over '
    'the seeds that both have, with its 95 % interval, of calibration, NLL and Brier score over '
    'seeds alone. Bold: significant (Holm-adjusted p < 0.05). Without an interval: one seed.'
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [' | '.join(row) for row in (head, ['---'] * len(head), *rows)]
    return '\n'.join(f'| {line} |' for line in lines)


def provenance(study: Study) -> str:
    """Where the numbers come from, in a line."""
    at, seeds = study.setting, {m: len(study.seeds[m]) for m in study.methods}
    few, many = min(seeds.values()), max(seeds.values())
    number = number_of(many, 'seed') if few == many else f'{few} to {many} seeds'
    tuned = f', the best of {at["tuned"]} settings on dev' if at.get('tuned') else ''
    return f'{at["test_images"]} test images, {at["length"]}, {number}{tuned}'


def test_table(study: Study, scores: Sequence[str]) -> str:
    """Means of the baseline, then of every method with its difference; mIoU of other splits last."""
    columns = {(score, 'test'): SCORES[score] for score in scores}
    columns |= {('mIoU', split): f'mIoU, {SPLITS.get(split, split)}' for split in study.more_splits}
    rows = []
    for method in _with_checkpoint(study):
        cells = [_mean_and_difference(study, method, *column) for column in columns]
        rows.append([name_of(method), str(len(study.seeds[method]) or '–'), *cells])
    return table(['method', 'seeds', *columns.values()], rows)


def _mean_and_difference(study: Study, method: str, score: str, split: str) -> str:
    mean, row = study.cell(method, score, split).mean, study.row(method, score, split)
    text = 'n/a' if mean is None else f'{mean:.1f}'
    return text if row is None else f'{text} ({marked(row)})'


def dev_and_test(study: Study) -> str:
    """Differences from the baseline on both splits."""
    rows = []
    for method in _with_checkpoint(study)[1:]:
        cells = [
            marked(study.row(method, score, split))
            for score in HEADLINE
            for split in ('dev', 'test')
        ]
        rows.append([name_of(method), *cells])
    head = [f'{SCORES[score]}, {split}' for score in HEADLINE for split in ('dev', 'test')]
    return table(['method', *head], rows)


def _with_checkpoint(study: Study) -> list[str]:
    return [*study.methods, *filter(is_checkpoint, study.seeds)]


def class_table(study: Study) -> str:
    """IoU of each class, mean over seeds."""
    rows = []
    for method in study.methods:
        runs = [r for r in study.content['runs'] if (r['method'], r['split']) == (method, 'test')]
        cells = []
        for values in zip(*(run['per_class']['IoU'] for run in runs), strict=True):
            known = [value for value in values if value is not None]
            cells.append(f'{100 * sum(known) / len(known):.1f}' if known else 'n/a')
        rows.append([name_of(method), *cells])
    return table(['method', *study.content['classes']], rows)


def across(studies: Sequence[Study], scores: Sequence[str]) -> str:
    """Differences on test, without their intervals, of every method on every data set."""
    rows_of: dict[str, dict[tuple[str, str], dict]] = {}
    for study in studies:
        for method in study.methods[1:]:
            of_method = rows_of.setdefault(name_of(method), {})
            for score in scores:
                of_method[score, study.name] = study.row(method, score)

    def gain(name: str) -> float:
        known = [row['mean'] for (s, _), row in rows_of[name].items() if row and s == scores[0]]
        return sum(known) / max(1, len(known))

    places = [(score, study) for score in scores for study in studies]
    head = ['method', *(f'{SCORES[score]}, {place_of(study)}' for score, study in places)]
    rows = [
        [name, *(_difference(rows_of[name].get((score, study.name))) for score, study in places)]
        for name in sorted(rows_of, key=gain, reverse=True)
    ]
    return table(head, rows)


def _difference(row: dict | None) -> str:
    if row is None:
        return '–'
    text = signed(row['mean'], row['score'])
    return f'**{text}**' if found(row) in ('better', 'worse') else text


def spread(values: Sequence[float], score: str) -> str:
    """The range of differences in points, away from zero where all have one sign.

    >>> spread([-0.022, -0.01], 'mIoU'), spread([0.004], 'mIoU'), spread([], 'mIoU')
    ('−1.0 to −2.2', '+0.4', '')
    >>> spread([0.003, -0.006, 0.0], 'mIoU')
    '−0.6 to +0.3'
    """
    ordered = sorted(
        values, key=abs if len({value > 0 for value in values if value}) == 1 else None
    )
    ends = list(dict.fromkeys(signed(end, score) for end in ordered))
    return ' to '.join(ends[:: len(ends) - 1 or 1])


def place_of(study: Study) -> str:
    """Network and data of a study, the start of its title."""
    return study.title.partition(',')[0]
