"""Ranks of methods over data sets, and whether screening ranks as training does."""

from collections.abc import Sequence

from mmseg_balance.experiments.ranks import critical_difference, mean_ranks, rank_agreement
from mmseg_balance.experiments.recommendation import direction
from tools.evidence.store import FULL, HEADS, SCORES, Study, name_of, of_kind

LONGER = ('t1_camvid_12k',)  # data and network of another study: not one more to rank over
FEWEST = 3  # methods that an agreement is computed for


def ranks_over_data(studies: Sequence[Study]) -> str:
    """Mean rank on test over the full trainings, of the methods that all of them have."""
    full = [study for study in of_kind(studies, FULL) if study.name not in LONGER]
    methods = [m for m in full[0].methods if all(m in s.methods for s in full)] if full else []
    if len(full) < 2 or len(methods) < 2:
        return '*Needs full trainings on two data sets or networks that have methods in common.*'
    limit = critical_difference(len(methods), len(full))
    lines = [f'| score | {" | ".join(map(name_of, methods))} |', '|---' * (len(methods) + 1) + '|']
    for score, title in SCORES.items():
        means = [[study.cell(m, score).mean for m in methods] for study in full]
        if any(mean is None for row in means for mean in row):
            continue
        ranks = mean_ranks([[direction(score) * mean for mean in row] for row in means])
        lines.append(f'| {title} | {" | ".join(f"{rank:.1f}" for rank in ranks)} |')
    said = (
        f'Mean rank on test over {", ".join(study.title for study in full)}; 1 is best. Ranks that '
        f'differ by less than {limit:.1f} do not differ significantly (critical difference, level 0.05).'
    )
    return '\n'.join([*lines, '', said])


def rank_agreements(studies: Sequence[Study]) -> str:
    """Kendall's tau of screening and full training of the same config, for each score on test."""
    parts = [
        _agreement(heads, full)
        for heads in of_kind(studies, HEADS)
        for full in of_kind(studies, FULL)
        if heads.setting['config'] == full.setting['config']
        and not heads.has_samplers  # no losses to rank
    ]
    return '\n\n'.join(parts) or '*Needs a screening and full trainings of the same config.*'


def _agreement(heads: Study, full: Study) -> str:
    methods = [method for method in full.methods if method in heads.methods]
    about = f'{heads.title} and {full.title}: {", ".join(map(name_of, methods))}.'
    if len(methods) < FEWEST:
        return f'{about} Too few methods for a rank agreement ({len(methods)}).'
    lines = ["| score | Kendall's τ | 95 % interval | p |", '|---|---|---|---|']
    for score, title in SCORES.items():
        ways = [_by_seed(study, methods, score) for study in (heads, full)]
        if None in ways:
            continue
        result = rank_agreement(*ways)
        low, high = (f'{result[end]:+.2f}'.replace('-', '−') for end in ('low', 'high'))
        tau = f'{result["tau"]:+.2f}'.replace('-', '−')
        lines.append(f'| {title} | {tau} | {low} to {high} | {result["p"]:.2f} |')
    end = f'Interval by resampling the {len(methods)} methods; with few methods it is rough.'
    return '\n'.join([about, '', *lines, '', end])


def _by_seed(study: Study, methods: Sequence[str], score: str) -> list[list[float]] | None:
    """``(methods, seeds)`` on test, of the seeds that all have, else means; None if undefined."""
    by_method = [study.scores(method, score, 'test') for method in methods]
    if not all(by_method):
        return None
    shared = sorted(set.intersection(*map(set, by_method)))
    if not shared:
        return [[sum(found.values()) / len(found)] for found in by_method]
    return [[found[seed] for seed in shared] for found in by_method]
