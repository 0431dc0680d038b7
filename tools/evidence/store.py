"""All of ``docs/results/*.json``, and what the tables ask of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mmseg_balance.experiments.differences import UNDECIDED, verdict
from mmseg_balance.experiments.plan import CHECKPOINT, is_checkpoint
from mmseg_balance.experiments.recommendation import direction
from mmseg_balance.experiments.results import FORMAT, read_json
from mmseg_balance.experiments.screen.decisions import DECISIONS
from mmseg_balance.experiments.summary import Cell, mean_of, methods_of

SCORES = {
    'mIoU': 'mIoU',
    'mRecall': 'mean recall',
    'mIoU_tail': 'mIoU of rare classes',
    'mIoU_I': 'mIoU per image',
    'acc': 'accuracy',
    'cal': 'calibration',
}
PROPER = {'NLL': 'NLL', 'Brier': 'Brier score'}  # proper scores, in their own units
FULL, HEADS, CHECK = 'train', 'screen', 'check'
CHECKS = ('street_scenes_977',)  # data that nothing was chosen by, used once
NAMES = {
    'ce': 'cross entropy',
    'wce': 'weighted cross entropy',
    'recall': 'recall loss',
    'soft_dice': 'soft Dice',
    'soft_iou': 'soft IoU',
    'lmp': 'loss max-pooling',
    'focal': 'focal loss',
    'lovasz': 'Lovász-softmax',
    'ohem': 'OHEM',
    'logit_adjusted': 'logit adjustment',
    'soft_dice_ce': 'soft Dice + cross entropy',
    'recall_dice': 'recall loss + soft Dice',
    'lmp_dice': 'loss max-pooling + soft Dice',
    'blv': 'balanced variation (BLV)',
    'seesaw': 'Seesaw',
    'region_size': 'region size',
    'ldam': 'LDAM',
    'tversky': 'Tversky',
    'centerline_dice': 'clDice + soft Dice',
    'generalized_dice': 'generalised Dice',
    'lovasz_ce': 'Lovász-softmax + cross entropy',
    'soft_iou_ce': 'soft IoU + cross entropy',
    CHECKPOINT: 'the checkpoint as it was',
}
# What a method's name says after its loss: samplers and decisions.
ADDED = {
    'balance_batch': 'Balance-batch',
    'balance_batch_camvid': 'Balance-batch',
    'balance_batch_ccp': 'Balance-batch',
    'repeat_factor': 'repeat factors',
    'rare_class': 'rare-class sampling',
    'rare_class_paste': 'rare-class paste',
    'performance': 'performance sampling',
    'iou': 'decision for IoU',
    'dice': 'decision for Dice',
}
# Composites of Taubert et al., by their own names.
TAUBERT = re.compile('w?[df]l(a|n)?w?ce')


@dataclass(frozen=True)
class Study:
    """The runs of one JSON: a set of trainings, or a screening.

    Args:
        name: Of its file, without the suffix.
        content: Of its file.
        left_out: Methods that are not looked at.
    """

    name: str
    content: dict
    left_out: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        if self.name in CHECKS:
            return CHECK
        return HEADS if self.content['verb'] == 'screen' else FULL

    @property
    def title(self) -> str:
        return self.content.get('title') or self.name

    @property
    def setting(self) -> dict:
        return self.content['setting']

    @cached_property
    def methods(self) -> list[str]:
        """The baseline first."""
        found = [method.name for method in methods_of(self.content)]
        return [name for name in found if not is_checkpoint(name) and name not in self.left_out]

    @property
    def baseline(self) -> str:
        return self.methods[0]

    @property
    def has_samplers(self) -> bool:
        """Or decisions: methods that are more than a loss."""
        return any(' + ' in method for method in self.methods)

    @cached_property
    def seeds(self) -> dict[str, list[int]]:
        return {method.name: method.seeds for method in methods_of(self.content)}

    @cached_property
    def more_splits(self) -> list[str]:
        """What was scored beside dev and test."""
        return sorted({run['split'] for run in self.content['runs']} - {'dev', 'test'})

    def scores(self, method: str, score: str, split: str) -> dict[int, float]:
        """By seed, those that are defined."""
        return {
            run['seed']: run['scores'][score]
            for run in self.content['runs']
            if (run['method'], run['split']) == (method, split)
            and run['scores'].get(score) is not None
        }

    def cell(self, method: str, score: str, split: str = 'test') -> Cell:
        """Mean and standard deviation over seeds, in percent."""
        by_name = {found.name: found for found in methods_of(self.content, split)}
        return mean_of(by_name.get(method), score)

    @cached_property
    def _rows(self) -> dict[tuple, dict]:
        keys = ('method', 'baseline', 'score', 'split')
        return {tuple(row[k] for k in keys): row for row in self.content['differences']}

    def row(
        self, method: str, score: str, split: str = 'test', baseline: str | None = None
    ) -> dict | None:
        """The difference of a method from the baseline, None where there is none."""
        row = self._rows.get((method, baseline or self.baseline, score, split))
        return None if row is None or row['mean'] is None else row


def load_studies(folder: Path) -> list[Study]:
    """Trainings first, then screenings, each in the order of names.

    Raises:
        ValueError: a file is of another format.
    """
    studies = [Study(path.stem, read_json(path, {})) for path in sorted(folder.glob('*.json'))]
    for study in studies:
        if study.content.get('format') != FORMAT:
            raise ValueError(f'{folder / study.name}.json: not of format {FORMAT}.')
    return sorted(studies, key=lambda study: (study.kind != FULL, study.name))


def each_once(studies: Sequence[Study]) -> list[Study]:
    """Without the losses of a study of samplers that the losses' own study from there has, too.

    Its runs are the same, so that a count over studies would take them for two observations.
    """

    def origin(study: Study) -> tuple:
        return study.kind, study.setting['config'], study.setting.get('checkpoint')

    known: dict[tuple, set[str]] = {}
    for study in studies:
        if not study.has_samplers:
            known.setdefault(origin(study), set()).update(study.methods[1:])
    return [
        replace(study, left_out=frozenset(known.get(origin(study), ())))
        if study.has_samplers
        else study
        for study in studies
    ]


def changes(method: str, score: str) -> bool:
    """Whether the method can change the score: a decision leaves the probabilities as they are.

    >>> changes('ce + iou', 'mIoU'), changes('ce + iou', 'cal'), changes('ce + rare_class', 'cal')
    (True, False, True)
    """
    return score not in ('cal', *PROPER) or method.rpartition(' + ')[2] not in DECISIONS


def of_kind(studies: Sequence[Study], *kinds: str) -> list[Study]:
    """In the order of the kinds."""
    return [study for kind in kinds for study in studies if study.kind == kind]


def name_of(method: str) -> str:
    """As the pages call a method.

    >>> name_of('ce'), name_of('ce + balance_batch_ccp'), name_of('dlawce')
    ('cross entropy', 'cross entropy with Balance-batch', 'DLAWCE')
    """
    loss, *added = method.split(' + ')
    name = NAMES.get(loss.lower()) or (loss.upper() if TAUBERT.fullmatch(loss) else loss)
    rest = ' and '.join(ADDED.get(part, part.replace('_', ' ')) for part in added)
    return name.replace('_', ' ') + (f' with {rest}' if rest else '')


def has_interval(row: dict | None) -> bool:
    return row is not None and row['low'] is not None and row['p_holm'] is not None


def found(row: dict | None) -> str:
    """``'better'``, ``'worse'``, ``'undecided'``, or ``'unknown'`` where there is no interval.

    The rule of every table: better and worse go by the p value of the paired difference on
    the split, adjusted over the methods (Holm), below 0.05; the 95 % interval then excludes 0.

    >>> row = dict(score='ECE', mean=.1, low=.05, high=.15, p_holm=.01)
    >>> found(row), found({**row, 'p_holm': .2}), found({**row, 'low': None})
    ('worse', 'undecided', 'unknown')
    """
    if not has_interval(row):
        return 'unknown'
    said = verdict(row)
    if said == UNDECIDED:
        return 'undecided'
    return 'better' if (said == 'higher') == (direction(row['score']) > 0) else 'worse'


def at_start(text: str) -> str:
    """As the first words of a sentence; a name with a capital inside, as clDice, stays as it is.

    >>> at_start('soft Dice'), at_start('clDice + soft Dice')
    ('Soft Dice', 'clDice + soft Dice')
    """
    first = text.split(' ')[0]
    return text if first != first.lower() else text[:1].upper() + text[1:]


def points(row: dict | None) -> str:
    """A difference with its interval: in points, of a proper score in its own unit.

    >>> points(dict(score='mIoU', mean=.0704, low=.059, high=.081, p_holm=.01))
    '+7.0 [+5.9, +8.1]'
    >>> points(dict(score='NLL', mean=.0352, low=None, high=None, p_holm=None))
    '+0.035'
    """
    if row is None:
        return 'n/a'
    mean, low, high = (signed(row[part], row['score']) for part in ('mean', 'low', 'high'))
    return f'{mean} [{low}, {high}]' if has_interval(row) else mean


def signed(value: float | None, score: str = '') -> str:
    """With a sign, no minus before zero: a fraction in points, a proper score as it is.

    >>> signed(.012), signed(-.00004), signed(-.021), signed(-.021, 'NLL')
    ('+1.2', '0.0', '−2.1', '−0.021')
    """
    scale, digits = (1, 3) if score in PROPER else (100, 1)
    shown = round(scale * (value or 0.0), digits)
    return f'{shown:+.{digits}f}'.replace('-', '−') if shown else f'{0:.{digits}f}'


def marked(row: dict | None) -> str:
    """A difference, bold where it is significant."""
    text = points(row)
    return f'**{text}**' if found(row) in ('better', 'worse') else text
