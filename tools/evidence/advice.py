"""Which methods are shown to be better, at what cost, and which are not."""

from collections import Counter
from collections.abc import Sequence

from mmseg_balance.experiments.progress import number_of
from mmseg_balance.experiments.recommendation import direction
from tools.evidence.store import (
    FULL,
    HEADS,
    PROPER,
    SCORES,
    Study,
    at_start,
    changes,
    each_once,
    found,
    has_interval,
    name_of,
    of_kind,
    points,
    signed,
)
from tools.evidence.tables import HEADLINE, NOTHING, place_of, table

COUNTS = 0.005  # the least difference that advice is given for
ADVISED = ('mIoU', 'mRecall', 'cal')  # nothing is chosen for accuracy, which cross entropy serves
RULE = (
    'Of the methods whose difference from cross entropy on test is significant (Holm-adjusted p < 0.05) '
    'and half a point or more, the best two on dev; –: there is none. What ran with one seed is not judged. '
    'Calibration is the score of Taubert et al.; the proper scores, NLL and Brier, can disagree.'
)


def advice(studies: Sequence[Study]) -> str:
    """What full trainings show to be better on test, where they disagree, and what no study shows."""
    full = of_kind(studies, FULL)
    judged = [one for one in of_kind(each_once(studies), FULL, HEADS) if with_intervals(one)]
    return _best_of_each(full, [RULE, *never(judged), *disagreements(full)])


def advice_of_screening(studies: Sequence[Study]) -> str:
    """What is better on test when the head alone is trained, and where data sets disagree."""
    heads = of_kind(each_once(studies), HEADS)
    return _best_of_each(heads, [RULE, *disagreements(heads)])


def _best_of_each(studies: Sequence[Study], said: Sequence[str]) -> str:
    """A row for each study, a column for each score of advice."""
    rows = []
    for study in filter(with_intervals, studies):
        best = [
            '<br>'.join(_with_cost(study, row) for row in ranked(study, score)[:2]) or '–'
            for score in ADVISED
        ]
        methods = number_of(len(with_intervals(study)), 'method')
        rows.append([f'{study.title} ({methods})', *best])
    head = ['on', *(f'better {SCORES[score]}' for score in ADVISED)]
    return '\n\n'.join([table(head, rows), *said]) if rows else NOTHING


def with_intervals(study: Study) -> list[str]:
    """The methods whose difference has an interval: two seeds or more."""
    return [m for m in study.methods[1:] if has_interval(study.row(m, HEADLINE[0]))]


def ranked(study: Study, score: str) -> list[dict]:
    """Rows of the methods that are better on test by an amount that counts, best on dev first."""
    rows = [study.row(m, score) for m in study.methods[1:] if changes(m, score)]
    better = [row for row in rows if found(row) == 'better' and abs(row['mean']) >= COUNTS]
    # Ordered by test, the largest of many estimates would come first, and be too large.
    return sorted(better, key=lambda row: -direction(score) * _on_dev(study, row))


def _on_dev(study: Study, row: dict) -> float:
    return study.row(row['method'], row['score'], 'dev')['mean']


def _with_cost(study: Study, row: dict) -> str:
    """A method, its gain, and what it loses for that."""
    judged = (*HEADLINE, *PROPER) if row['score'] == 'cal' else HEADLINE
    others = [study.row(row['method'], score) for score in judged]
    losses = [
        f'{(SCORES | PROPER)[other["score"]]} {signed(other["mean"], other["score"])}'
        for other in others
        if found(other) == 'worse'
    ]
    cost = f'; costs {", ".join(losses)}' if losses else ''
    return f'{name_of(row["method"])} {points(row)}{cost}'


def never(studies: Sequence[Study]) -> list[str]:
    """Methods that were judged more than once, and never shown to gain a score of advice."""
    tried: Counter[str] = Counter()
    helped = set()
    for study in studies:
        helped |= {name_of(row['method']) for score in ADVISED for row in ranked(study, score)}
        tried.update(map(name_of, with_intervals(study)))
    names = [name for name, times in tried.items() if times > 1 and name not in helped]
    said = 'Judged in two studies or more and not shown to help in any of these scores'
    return [f'{said}: {", ".join(names)}.'] if names else []


def disagreements(studies: Sequence[Study]) -> list[str]:
    """Methods that are better in one study and worse in another that was trained alike."""
    lines = []
    for score in HEADLINE:
        said: dict[str, dict[str, list[str]]] = {}
        for study in filter(with_intervals, studies):
            for method in (m for m in study.methods[1:] if changes(m, score)):
                places = said.setdefault(name_of(method), {})
                places.setdefault(found(study.row(method, score)), []).append(place_of(study))
        for method, by in said.items():
            if 'better' in by and 'worse' in by:
                # The same baseline stands in the study of losses and in that of samplers.
                better, worse = (', '.join(dict.fromkeys(by[v])) for v in ('better', 'worse'))
                lines.append(
                    f'- {at_start(method)}, {SCORES[score]}: better on {better}; worse on {worse}.'
                )
    return ['Data sets disagree:', '\n'.join(lines)] if lines else []
