"""All of a study, for the page behind the page."""

from collections.abc import Mapping, Sequence

from mmseg_balance.experiments.merging import LR
from tools.evidence.figures import names_of
from tools.evidence.publishing import AND, BETWEEN
from tools.evidence.store import PROPER, SCORES, Study, found, has_interval, name_of, points, signed
from tools.evidence.tables import LEGEND, NOTHING, class_table, dev_and_test, provenance, test_table


def details(studies: Sequence[Study]) -> str:
    """Every study: scores with intervals, dev beside test, every class, where it comes from."""
    parts = [_details(study) for study in studies]
    return '\n\n'.join([LEGEND, *parts]) if parts else NOTHING


def _details(study: Study) -> str:
    content, at, has = study.content, study.setting, study.content['environment']
    versions = ', '.join(
        f'{k} {v}' for k, v in has.items() if k not in ('machine', 'cores', 'date')
    )
    chosen = (content.get('recommended') or {}).get('text', [])
    commands = AND.join(f'`{command}`' for command in BETWEEN.split(content['command']))
    parts = [
        f'## {study.title}',
        f'{provenance(study)}; config `{at["config"]}`; {at["train_images"]} training and '
        f'{at.get("dev_images", "?")} dev images; groups of images: `{at.get("groups", "images")}`; '
        f'{at.get("tuned") or "no"} trials of tuning for each method. {content.get("note", "")}'.strip(),
        f'*Made by* {commands} at commit {content.get("commit", "unknown")}, '
        f'{has["date"][:10]}, {has["machine"]}, {has["cores"]} cores; {versions}.',
        ' '.join(chosen),
        tuning(study),
        test_table(study, list(SCORES)),
    ]
    if len(study.methods) > 1:
        parts += ['Dev beside test:', dev_and_test(study), losses_of(study), figures(study)]
    parts += ['IoU of each class on test, in %, mean over seeds:', class_table(study)]
    return '\n\n'.join(part for part in parts if part)


def tuning(study: Study) -> str:
    """Which setting was chosen for whom, and what it gained on dev over the method's defaults."""
    score = study.setting.get('choose_by', 'mIoU')
    chosen: dict[str, list[str]] = {}
    for method in study.methods:
        trials = [trial for trial in study.content.get('trials', []) if trial['method'] == method]
        runs = [run for run in study.content['runs'] if run['method'] == method]
        settings = runs[0].get('settings', {})
        best = [trial for trial in trials if trial['settings'] == settings]
        if best:
            own = trials[0]['scores'].get(score)  # None: the defaults failed
            gain = None if own is None else best[0]['scores'][score] - own
            chosen.setdefault(_said(settings), []).append(
                f'{name_of(method)} {signed(gain, score)}'
            )
    lines = [f'- {setting}: {", ".join(methods)}.' for setting, methods in chosen.items()]
    head = f'Settings chosen, and their gain of {SCORES[score]} on dev over the defaults, one seed:'
    return '\n'.join([head, '', *lines]) if lines else ''


def _said(settings: Mapping[str, float]) -> str:
    """A setting in words.

    >>> _said({'lr': 3.0, 'loss_decode.0.gamma': 2.0}), _said({})
    ('3 × learning rate, gamma 2', 'defaults')
    """
    parts = [
        f'{value:g} × learning rate' if name == LR else f'{name.rpartition(".")[2]} {value:g}'
        for name, value in settings.items()
    ]
    return ', '.join(parts) or 'defaults'


def losses_of(study: Study) -> str:
    """What the methods lose, and which gain nothing significant."""
    lines, nothing = [], []
    for method in study.methods[1:]:
        rows = [study.row(method, score) for score in (*SCORES, *PROPER)]
        worse = [row for row in rows if found(row) == 'worse']
        if worse:
            losses = ', '.join(f'{(SCORES | PROPER)[row["score"]]} {points(row)}' for row in worse)
            lines.append(f'- {name_of(method)} is worse in {losses}.')
        if any(map(has_interval, rows)) and 'better' not in map(found, rows):
            nothing.append(name_of(method))
    if nothing:
        lines.append(f'- No score is shown to gain from {", ".join(nothing)}.')
    return '\n'.join(lines)


def figures(study: Study) -> str:
    """The figures that ``figures.draw`` makes."""
    return '\n\n'.join(
        f'![{what}, {study.title}](images/{file})' for file, what in names_of(study).items()
    )
