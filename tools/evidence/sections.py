"""The blocks of the pages, each a function of all studies that returns Markdown."""

from collections import Counter
from collections.abc import Callable, Sequence

from mmseg_balance.experiments.recommendation import direction
from tools.evidence.advice import advice, advice_of_screening, with_intervals
from tools.evidence.claims import claims_in_brief, claims_in_full
from tools.evidence.details import details
from tools.evidence.figures import CURVES_FILE, SUMMARY_FILE, has_curves
from tools.evidence.ranking import rank_agreements, ranks_over_data
from tools.evidence.store import (
    CHECK,
    FULL,
    HEADS,
    PROPER,
    SCORES,
    Study,
    at_start,
    changes,
    each_once,
    found,
    name_of,
    of_kind,
    points,
)
from tools.evidence.tables import LEGEND, NOTHING, across, provenance, spread, table, test_table

# What the protocol asks for: name of the file, runs, methods (with the baseline) and seeds.
PLAN = (
    ('t1_camvid', 'T1 on CamVid, full', '6 methods × 5 seeds'),
    ('t1_ccp', 'T1 on CCP, full', '4 × 3'),
    ('t2_camvid', 'T2 on CamVid, full', '3 × 3'),
    ('t1_camvid_12k', 'T1 on CamVid, four times as long', '2 × 2'),
    ('screen_camvid', 'T1 on CamVid, screening', 'every loss × 5, tuned'),
    (
        'screen_samplers_camvid',
        'T1 on CamVid, samplers and decisions, screening',
        'every sampler and decision × 5, tuned',
    ),
    ('screen_ccp', 'T1 on CCP, screening', 'every loss, sampler and decision × 5, tuned'),
    ('screen_samplers_ccp', 'T1 on CCP, samplers and decisions, screening', 'of these'),
    ('screen_chase_db1', 'T1 on CHASE_DB1, screening', 'the same'),
    (
        'screen_decisions_chase_db1',
        'T1 on CHASE_DB1, decisions, screening',
        'of these; no sampler was run, since every image has both classes',
    ),
    ('screen_street_scenes', 'T1 on StreetScenes, screening', 'the same'),
    (
        'screen_samplers_street_scenes',
        'T1 on StreetScenes, samplers and decisions, screening',
        'of these',
    ),
    ('screen_t2_camvid', 'T2 on CamVid, screening', 'the same'),
    ('screen_samplers_t2_camvid', 'T2 on CamVid, samplers and decisions, screening', 'of these'),
    ('screen_t2_ccp', 'T2 on CCP, screening', 'the same'),
    ('screen_samplers_t2_ccp', 'T2 on CCP, samplers and decisions, screening', 'of these'),
    ('street_scenes_977', 'the recommendation on StreetScenes rendered with seed 977', 'once'),
)
# The advice of the day before the check: what later trainings advise is no prediction.
PREDICTED = (
    ('soft_dice', 'mIoU'),
    ('recall', 'mIoU'),
    ('recall', 'mRecall'),
    ('soft_dice', 'mRecall'),
)
HELD_UP = {
    'better': 'held',
    'worse': 'refuted',
    'undecided': 'not significant',
    'unknown': 'one seed, no interval',
}
IN_PICTURE = (
    'Differences from cross entropy on test, in points, with 95 % intervals; blue: better, orange: worse, '
    'significant (Holm-adjusted p < 0.05); grey: not significant. In the bands what cross entropy has, in %.'
)
LOSSES = (
    'Significant differences from cross entropy on test, from the least to the greatest over the '
    'studies, and in how many; each with its interval is in the [details](results_details.md).'
)
ACROSS = (
    'Differences from cross entropy on test in points, best mean of mIoU first. Bold: significant '
    '(Holm-adjusted p < 0.05). –: not run. Intervals and the other scores are in the '
    '[details](results_details.md).'
)


def headline(studies: Sequence[Study]) -> str:
    """Full trainings of several seeds in one picture."""
    shown = in_headline(studies)
    if not shown:
        return NOTHING
    said = '; '.join(f'{study.title}: {provenance(study)}' for study in shown)
    numbers = 'The [numbers](docs/results.md#full-trainings).'
    return f'{_picture("docs/images")}\n\n{IN_PICTURE} {numbers}\n{said}.'


def _picture(folder: str) -> str:
    return f'![Differences of full trainings from cross entropy]({folder}/{SUMMARY_FILE})'


def in_headline(studies: Sequence[Study]) -> list[Study]:
    return [study for study in of_kind(studies, FULL, CHECK) if with_intervals(study)]


def trainings(studies: Sequence[Study]) -> str:
    """The picture, then tables, with those of one seed too."""
    tables = _each(of_kind(studies, FULL), list(SCORES))
    shown = f'{_picture("images")}\n\n{IN_PICTURE}\n\n' if in_headline(studies) else ''
    return shown + tables


def final_check(studies: Sequence[Study]) -> str:
    """What was predicted before the data were rendered, and how it came out."""
    parts = [_each([study], list(SCORES)) for study in of_kind(studies, CHECK)]
    lines = [
        f'- {at_start(name_of(method))} raises {SCORES[score]}: {points(row)}, {HELD_UP[found(row)]}.'
        for study in of_kind(studies, CHECK)
        for method, score in PREDICTED
        if (row := study.row(method, score))
    ]
    return '\n\n'.join([*parts, 'What was predicted:', '\n'.join(lines)]) if parts else NOTHING


def _each(studies: Sequence[Study], scores: Sequence[str]) -> str:
    parts = [
        f'**{study.title}** ({provenance(study)})\n\n{test_table(study, scores)}'
        for study in studies
    ]
    return '\n\n'.join([*parts, LEGEND]) if parts else NOTHING


def screened_losses(studies: Sequence[Study]) -> str:
    """Losses, the head alone, on all data sets in one table."""
    losses = [study for study in of_kind(studies, HEADS) if not study.has_samplers]
    return _screened(losses, ('mIoU', 'mRecall'))


def screened_samplers(studies: Sequence[Study]) -> str:
    """Samplers and decisions, the head alone, on all data sets in one table."""
    samplers = [study for study in of_kind(studies, HEADS) if study.has_samplers]
    return _screened(samplers, ('mIoU', 'mRecall', 'mIoU_I'))


def _screened(studies: Sequence[Study], scores: Sequence[str]) -> str:
    if not studies:
        return NOTHING
    said = '; '.join(f'{study.title}: {provenance(study)}' for study in studies)
    return f'{across(studies, scores)}\n\n{ACROSS}\n\n{said}.'


def worst(studies: Sequence[Study]) -> str:
    """Of each score: how often a method loses significantly, and the largest losses."""
    lines, once = [], each_once(studies)
    for score, title in (SCORES | PROPER).items():
        rows = [(s, s.row(m, score)) for s in once for m in s.methods[1:] if changes(m, score)]
        judged = [(study, row) for study, row in rows if found(row) != 'unknown']
        lost = [(study, row) for study, row in judged if found(row) == 'worse']
        lost.sort(key=lambda pair: direction(score) * pair[1]['mean'])
        if judged:
            most = '<br>'.join(
                f'{name_of(row["method"])} {points(row)}, {study.title}' for study, row in lost[:2]
            )
            lines.append([title, f'{len(lost)} of {len(judged)}', most or '–'])
    return table(['score', 'significantly worse', 'the largest losses'], lines)


def against(studies: Sequence[Study]) -> str:
    """What methods lose significantly: the range over the studies."""
    lost: dict[str, dict[str, list[float]]] = {}
    for study in each_once(studies):
        for method in study.methods[1:]:
            for score in (*SCORES, *PROPER):
                row = study.row(method, score)
                if found(row) == 'worse' and changes(method, score):
                    lost.setdefault(name_of(method), {}).setdefault(score, []).append(row['mean'])
    if not lost:
        return 'Nothing significant.'
    scores = [score for score in (*SCORES, *PROPER) if any(score in of for of in lost.values())]
    rows = [
        [name, *(_how_often(of.get(score, []), score) for score in scores)]
        for name, of in lost.items()
    ]
    head = ['method', *((SCORES | PROPER)[score] for score in scores)]
    return f'{table(head, rows)}\n\n{LOSSES}'


def _how_often(values: Sequence[float], score: str) -> str:
    return f'{spread(values, score)} ({len(values)})' if values else ''


def not_run(studies: Sequence[Study]) -> str:
    """What the protocol asks for and how much of it there is."""
    by_name = {study.name: study for study in studies}
    known = {name for name, *_ in PLAN}
    rows = [[what, planned, _done(by_name.get(name))] for name, what, planned in PLAN]
    rows += [[s.title, '–', _done(s)] for s in studies if s.name not in known]
    return table(['runs', 'planned', 'done'], rows)


def _done(study: Study | None) -> str:
    """Methods by their number of seeds."""
    if study is None:
        return '**none**'
    methods = Counter(len(study.seeds[method]) for method in study.methods)
    tuned = 'tuned' if study.setting.get('tuned') else 'not tuned'
    return f'{", ".join(f"{n} × {seeds}" for seeds, n in sorted(methods.items()))}, {tuned}'


def figures(studies: Sequence[Study]) -> str:
    """The curves of the full trainings; the other figures stand with the details."""
    lines = [
        f'![Scores on dev while training, {study.title}](images/{CURVES_FILE.format(study.name)})'
        for study in studies
        if has_curves(study)
    ]
    return '\n\n'.join(lines) or NOTHING


BLOCKS: dict[str, Callable[[Sequence[Study]], str]] = {
    'headline': headline,
    'advice': advice,
    'advice-of-screening': advice_of_screening,
    'trainings': trainings,
    'final-check': final_check,
    'screened-losses': screened_losses,
    'screened-samplers': screened_samplers,
    'worst': worst,
    'against': against,
    'claims': claims_in_brief,
    'claims-in-full': claims_in_full,
    'ranks': ranks_over_data,
    'agreement': rank_agreements,
    'not-run': not_run,
    'details': details,
    'figures': figures,
}
