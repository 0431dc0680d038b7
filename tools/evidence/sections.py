"""The blocks of the pages, each a function of all studies that returns Markdown."""

from collections import Counter
from collections.abc import Callable, Sequence

from mmseg_balance.experiments.recommendation import direction
from tools.evidence.claims import claims_table
from tools.evidence.ranking import rank_agreements, ranks_over_data
from tools.evidence.store import (
    FULL,
    HEADS,
    PROPER,
    SCORES,
    Study,
    found,
    has_interval,
    is_checkpoint,
    marked,
    name_of,
    of_kind,
    points,
    signed,
)

NOTHING = '*Not measured yet.*'
SIDE_BY_SIDE = ('mIoU', 'mRecall', 'acc', 'cal')
HEADLINE = ('mIoU', 'mRecall', 'acc', 'cal')
COUNTS = 0.005  # the least difference that advice is given for
ADVISED = ('mIoU', 'mRecall', 'cal')  # nothing is chosen for accuracy, which cross entropy serves
LEGEND = (
    'Means over seeds on test, in %; in brackets the difference from the first row in points, over '
    'the seeds that both have, with its 95 % interval. Bold: told from zero (Holm-adjusted p < 0.05); all others cannot be told from '
    'the first row. Without an interval: one seed.'
)
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
    ('screen_street_scenes', 'T1 on StreetScenes, screening', 'the same'),
    ('screen_t2_camvid', 'T2 on CamVid, screening', 'the same'),
    ('screen_t2_ccp', 'T2 on CCP, screening', 'the same'),
    ('street_scenes_977', 'the recommendation on StreetScenes rendered with seed 977', 'once'),
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [' | '.join(row) for row in (head, ['---'] * len(head), *rows)]
    return '\n'.join(f'| {line} |' for line in lines)


def headline(studies: Sequence[Study]) -> str:
    """Full trainings of several seeds: a table each, the baseline's scores and differences."""
    compared = [study for study in of_kind(studies, FULL) if _with_intervals(study)]
    return _each(compared, lambda study: test_table(study, HEADLINE))


def trainings(studies: Sequence[Study]) -> str:
    """As the headline, with all scores, and dev beside test."""
    return _each(of_kind(studies, FULL), _whole)


def screenings(studies: Sequence[Study]) -> str:
    """As the headline, of screenings; the rest is in the details."""
    return _each(of_kind(studies, HEADS), lambda study: test_table(study, HEADLINE))


def _whole(study: Study) -> str:
    tested = test_table(study, list(SCORES))
    if len(study.methods) == 1:
        return tested
    return f'{tested}\n\nDev beside test:\n\n{dev_and_test(study)}'


def _each(studies: Sequence[Study], made: Callable[[Study], str]) -> str:
    parts = [f'**{study.title}** ({provenance(study)})\n\n{made(study)}' for study in studies]
    return '\n\n'.join([*parts, LEGEND]) if parts else NOTHING


def provenance(study: Study) -> str:
    """Where the numbers come from, in a line."""
    at, seeds = study.setting, {m: len(study.seeds[m]) for m in study.methods}
    few, many = min(seeds.values()), max(seeds.values())
    number = f'{many} seed{"s" * (many > 1)}' if few == many else f'{few} to {many} seeds'
    return f'{at["data"]}, {at["test_images"]} test images, {at["length"]}, {number}'


def test_table(study: Study, scores: Sequence[str]) -> str:
    """Means of the baseline, then of every method with its difference."""
    rows = []
    for method in _with_checkpoint(study):
        cells = []
        for score in scores:
            mean = study.cell(method, score).mean
            text = 'n/a' if mean is None else f'{mean:.1f}'
            row = study.row(method, score)
            cells.append(text if row is None else f'{text} ({marked(row)})')
        rows.append([name_of(method), str(len(study.seeds[method]) or '–'), *cells])
    head = ['method', 'seeds', *(SCORES[score] for score in scores)]
    return table(head, rows)


def dev_and_test(study: Study) -> str:
    """Differences from the baseline on both splits."""
    rows = []
    for method in _with_checkpoint(study)[1:]:
        cells = [
            marked(study.row(method, score, split))
            for score in SIDE_BY_SIDE
            for split in ('dev', 'test')
        ]
        rows.append([name_of(method), *cells])
    head = [f'{SCORES[score]}, {split}' for score in SIDE_BY_SIDE for split in ('dev', 'test')]
    return table(['method', *head], rows)


def _with_checkpoint(study: Study) -> list[str]:
    return [*study.methods, *filter(is_checkpoint, study.seeds)]


def advice(studies: Sequence[Study]) -> str:
    """What is better than the baseline on test: a row for each study, a column for each score."""
    ordered = [*of_kind(studies, FULL), *of_kind(studies, HEADS)]
    compared = [study for study in ordered if _with_intervals(study)]
    if not compared:
        return NOTHING
    rows = []
    for study in compared:
        better = [ranked(study, score) for score in ADVISED]
        best = ['<br>'.join(_with_cost(study, row) for row in part[:2]) for part in better]
        helping = {row['method'] for part in better for row in part}
        judged = _with_intervals(study)
        rest = ', '.join(name_of(method) for method in judged if method not in helping)
        title = f'{study.title} ({len(judged)} methods)'
        rows.append([title, *(cell or '–' for cell in (*best, rest))])
    head = ['on', *(f'better {SCORES[score]}' for score in ADVISED), 'not shown to help in any']
    text = [table(head, rows), '', ADVICE_RULE]
    return '\n'.join([*text, *disagreements(compared)])


ADVICE_RULE = (
    'The best two methods whose difference from cross entropy on test is told from zero (95 % interval, '
    'Holm-adjusted p < 0.05) and half a point or more; –: there is none. What ran with one seed is not judged. Screening trains the head alone. '
    'Calibration is the score of Taubert et al.; the proper scores, NLL and Brier, can disagree.'
)


def _with_intervals(study: Study) -> list[str]:
    """The methods whose difference has an interval: two seeds or more."""
    return [m for m in study.methods[1:] if has_interval(study.row(m, HEADLINE[0]))]


def ranked(study: Study, score: str) -> list[dict]:
    """Rows of the methods that are better on test by an amount that counts, best first."""
    rows = [study.row(method, score) for method in study.methods[1:]]
    better = [row for row in rows if found(row) == 'better' and abs(row['mean']) >= COUNTS]
    return sorted(better, key=lambda row: -direction(score) * row['mean'])


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


def disagreements(studies: Sequence[Study]) -> list[str]:
    """Methods that are better in one study and worse in another."""
    lines = []
    for score in HEADLINE:
        said: dict[str, dict[str, list[str]]] = {}
        for study in studies:
            for method in study.methods[1:]:
                verdict = found(study.row(method, score))
                said.setdefault(method, {}).setdefault(verdict, []).append(study.title)
        for method, by in said.items():
            if 'better' in by and 'worse' in by:
                lines += ['', f'Data sets disagree on {name_of(method)}: {SCORES[score]} is better on '
                          f'{", ".join(by["better"])} and worse on {", ".join(by["worse"])}.']  # fmt: skip
    return lines


def against(studies: Sequence[Study]) -> str:
    """What the methods lose, and which gain nothing that can be told."""
    lines = []
    for study in studies:
        nothing = []
        for method in study.methods[1:]:
            rows = [study.row(method, score) for score in (*SCORES, *PROPER)]
            worse = [row for row in rows if found(row) == 'worse']
            if worse:
                losses = ', '.join(
                    f'{(SCORES | PROPER)[row["score"]]} {points(row)}' for row in worse
                )
                lines.append(f'- {study.title}: {name_of(method)} is worse in {losses}.')
            if any(map(has_interval, rows)) and 'better' not in map(found, rows):
                nothing.append(name_of(method))
        if nothing:
            lines.append(f'- {study.title}: no score is shown to gain from {", ".join(nothing)}.')
    return '\n'.join(lines) or 'Nothing has an interval yet.'


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


def details(studies: Sequence[Study]) -> str:
    """All of a study: IoU of every class, what was chosen on dev, where it comes from."""
    return '\n\n'.join(map(_details, studies)) or NOTHING


def _details(study: Study) -> str:
    content, at, has = study.content, study.setting, study.content['environment']
    versions = ', '.join(
        f'{k} {v}' for k, v in has.items() if k not in ('machine', 'cores', 'date')
    )
    chosen = (content.get('recommended') or {}).get('text', [])
    commands = content['command'].replace(' and mmseg-balance', '` and `mmseg-balance')
    screened = [f'Dev beside test:\n\n{dev_and_test(study)}'] if study.kind == HEADS else []
    parts = [
        f'## {study.title}',
        f'{provenance(study)}; config `{at["config"]}`; {at["train_images"]} training and '
        f'{at.get("dev_images", "?")} dev images; groups of images: `{at.get("groups", "images")}`; '
        f'{at.get("tuned") or "no"} trials of tuning for each method. {content.get("note", "")}'.strip(),
        f'*Made by* `{commands}` at commit {content.get("commit", "unknown")}, '
        f'{has["date"][:10]}, {has["machine"]}, {has["cores"]} cores; {versions}.',
        ' '.join(chosen),
        *screened,
        'IoU of each class on test, in %, mean over seeds:',
        class_table(study),
    ]
    return '\n\n'.join(part for part in parts if part)


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


def figures(studies: Sequence[Study]) -> str:
    """The figures that ``figures.draw`` makes."""
    from tools.evidence.figures import names_of

    lines = [
        f'![{what}, {study.title}](images/{file})'
        for study in studies
        for file, what in names_of(study).items()
    ]
    return '\n\n'.join(lines) or NOTHING


BLOCKS: dict[str, Callable[[Sequence[Study]], str]] = {
    'headline': headline,
    'advice': advice,
    'trainings': trainings,
    'screenings': screenings,
    'against': against,
    'claims': claims_table,
    'ranks': ranks_over_data,
    'agreement': rank_agreements,
    'not-run': not_run,
    'details': details,
    'figures': figures,
}
