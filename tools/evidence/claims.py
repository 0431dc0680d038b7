"""The claims of the papers, and whether the measurements bear them out."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.evidence.store import Study, each_once, found, has_interval, points
from tools.evidence.tables import spread, table

HELD, NOT_HELD, UNDECIDED = 'held', 'not held', 'undecided'
NOT_MEASURED, NO_INTERVAL = 'not measured', 'one seed'
VERDICTS = (HELD, NOT_HELD, UNDECIDED, NO_INTERVAL)
HEAD = ('paper', 'claim', "the paper's number")
RULE = (
    '*Held*: the difference on test lies on the claimed side of zero (Holm-adjusted p < 0.05). *Not held*: on the '
    'other side. *Undecided*: it is not significant. Where a paper says how much a score may '
    'fall at most, that bound takes the place of zero: held when the whole 95 % interval is above it, not held '
    'when the whole interval is below. *One seed*: no interval, which decides nothing. –: none.'
)


@dataclass(frozen=True)
class Claim:
    """A claim about one score.

    Args:
        paper: First author.
        text: What is claimed.
        number: The paper's number.
        method: Compared method.
        score: Its key in the JSON.
        expected: ``'better'`` or ``'worse'``.
        bound: What the difference shall be above, in points; zero otherwise.
        baseline: What the method is compared with.
    """

    paper: str
    text: str
    number: str
    method: str
    score: str
    expected: str = 'better'
    bound: float | None = None
    baseline: str = 'ce'


CLAIMS = (
    Claim('Rota Bulò', 'loss max-pooling raises mIoU', '+0.9 (VOC), +1.4 (Cityscapes); the loss alone +0.5, +0.6', 'lmp', 'mIoU'),
    Claim('Rota Bulò', 'and that of rare classes', '18 of 19 classes gain, rare ones most', 'lmp', 'mIoU_tail'),
    Claim('Tian', 'recall loss raises mean recall', '+7.4 (minority classes)', 'recall', 'mRecall'),
    Claim('Tian', 'and keeps mIoU', '−1.9 to +3.8 (minority classes)', 'recall', 'mIoU', bound=-1.9),
    Claim('Tian', 'weighted cross entropy raises mean recall', '+13.3 (balanced, minority classes)', 'wce', 'mRecall'),
    Claim('Tian', 'and costs mIoU', '−25.7 (balanced, minority classes)', 'wce', 'mIoU', expected='worse'),
    Claim('Taubert', 'focal loss calibrates badly', 'cal 60 to 71 against 89 to 95', 'focal', 'cal', expected='worse'),
    Claim('Taubert', 'max-pooled cross entropy calibrates badly', 'cal 35 to 69 against 89 to 95', 'lmp', 'cal', expected='worse'),
    Claim('Taubert', 'Dice scheduled to weighted cross entropy finds ignored classes (mean recall)', 'no class ignored on Cityscapes', 'dlnwce', 'mRecall'),
    Claim('Huang', 'Balance-batch raises mIoU with cross entropy', '+0.4', 'ce + balance_batch', 'mIoU'),
    Claim('Huang', 'with Dice', '+0.9', 'soft_dice + balance_batch', 'mIoU', baseline='soft_dice'),
    Claim('Huang', 'with IoU', '+3.8', 'soft_iou + balance_batch', 'mIoU', baseline='soft_iou'),
)  # fmt: skip


def judged(claim: Claim, study: Study) -> tuple[str, dict | None]:
    """What a study says of a claim, by ``RULE``, and the difference it says it by."""
    methods = [m for m in study.methods if m == claim.method or m.startswith(f'{claim.method}_')]
    exact = [m for m in methods if m == claim.method or ' + ' in claim.method]
    row = study.row(exact[0], claim.score, baseline=claim.baseline) if exact else None
    if row is None:
        return NOT_MEASURED, None
    if not has_interval(row):
        return NO_INTERVAL, row
    if claim.bound is not None:
        low, high = 100 * row['low'], 100 * row['high']
        return (HELD if low > claim.bound else NOT_HELD if high < claim.bound else UNDECIDED), row
    said = found(row)
    if said == 'undecided':
        return UNDECIDED, row
    return (HELD if said == claim.expected else NOT_HELD), row


def claims_in_brief(studies: Sequence[Study]) -> str:
    """A row for each claim: in how many studies it held, and by how much."""
    rows = []
    for claim in CLAIMS:
        by_verdict = _verdicts(claim, studies)
        total = sum(map(len, by_verdict.values()))
        said = [
            f'{verdict} in {len(rows_of)} of {total}: {spread([row["mean"] for _, row in rows_of], claim.score)}'
            for verdict, rows_of in by_verdict.items()
            if rows_of
        ]
        rows.append([claim.paper, claim.text, claim.number, '<br>'.join(said) or NOT_MEASURED])
    return table([*HEAD, 'here'], rows)


def claims_in_full(studies: Sequence[Study]) -> str:
    """A row for each claim, a column for each verdict with the studies that give it."""
    rows = []
    for claim in CLAIMS:
        cells = [
            '<br>'.join(f'{study.title}: {points(row)}' for study, row in said) or '–'
            for said in _verdicts(claim, studies).values()
        ]
        rows.append([claim.paper, claim.text, claim.number, *cells])
    return f'{RULE}\n\n{table([*HEAD, *VERDICTS], rows)}'


def _verdicts(claim: Claim, studies: Sequence[Study]) -> dict[str, list[tuple[Study, dict]]]:
    """Studies and their differences by what they say of a claim."""
    said: dict[str, list[tuple[Study, dict]]] = {verdict: [] for verdict in VERDICTS}
    for study in each_once(studies):
        verdict, row = judged(claim, study)
        if row is not None:
            said[verdict].append((study, row))
    return said
