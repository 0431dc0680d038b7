"""All checks on one config."""

import os
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from mmengine.config import Config

from mmseg_balance.doctor.checks import AFTER_ERRORS, CHECKS, Check, name_of
from mmseg_balance.doctor.findings import ERROR, Finding, advice, by_severity, error, warning
from mmseg_balance.doctor.fixes import fix_text
from mmseg_balance.doctor.reading import NotReadError, Reading, read_config


@dataclass
class Examination:
    """What was read, what was found, and which checks had nothing to look at.

    Args:
        findings: errors first.
        reading: None if the config cannot be read.
        skipped: reason → names of the checks that did not run for it.
    """

    findings: list[Finding]
    reading: Reading | None = None
    skipped: dict[str, list[str]] = field(default_factory=dict)

    @property
    def num_errors(self) -> int:
        return sum(one.severity == ERROR for one in self.findings)


def examine(
    path: str | os.PathLike,
    options: Mapping | None = None,
    gpus: int | None = None,
    labels: bool = True,
    progress: bool = True,
) -> Examination:
    """Read a config and its labels, and run every check.

    Args:
        path: the config.
        options: overrides of it.
        gpus: number of GPUs of the training; None: by the name of the config, else one.
        labels: whether to read label maps and images.
        progress: whether to draw bars.
    """
    try:
        config = read_config(path, options)
    except Exception as problem:  # a config is a program: it may raise anything
        found = error(
            str(path),
            f'the config cannot be read: {type(problem).__name__}: {problem}',
            'correct it, or what it inherits',
        )
        return Examination([found.of('config-readable')])
    return examine_config(config, gpus, labels, progress)


def examine_config(
    config: Config, gpus: int | None = None, labels: bool = True, progress: bool = True
) -> Examination:
    """Like :func:`examine`, for a config that is read already."""
    reading = Reading(config, gpus, labels, progress)
    skipped: dict[str, list[str]] = {}
    findings: list[Finding] = []
    for check in (check for checks in CHECKS.values() for check in checks):
        findings += _run(check, reading, skipped)
    if not any(one.severity == ERROR for one in findings):
        for check in (check for checks in AFTER_ERRORS.values() for check in checks):
            findings += _run(check, reading, skipped)
    findings += _not_read(skipped)
    return Examination(by_severity(findings), reading, skipped)


def _run(check: Check, reading: Reading, skipped: dict[str, list[str]]) -> Iterator[Finding]:
    """Findings of one check; an exception in it is a finding of its own."""
    name = name_of(check)
    try:
        for finding in check(reading):
            yield _with_text(finding.of(name), reading.config)
    except NotReadError as reason:
        skipped.setdefault(str(reason), []).append(name)
    except Exception as problem:
        place = traceback.extract_tb(problem.__traceback__)[-1]
        yield warning(
            f'check {name}',
            f'the check itself failed on this config: {type(problem).__name__}: {problem} '
            f'({os.path.basename(place.filename)}, line {place.lineno}); the others went on',
            'please report it with the config',
        ).of('check-failed')


def _with_text(finding: Finding, config: Config) -> Finding:
    """Spell out the safe change of a finding as text to paste."""
    if not finding.fix:
        return finding
    text = fix_text(config, finding.fix)
    return replace(finding, change='\n'.join(filter(None, [finding.change, text])))


def _not_read(skipped: Mapping[str, list[str]]) -> Iterator[Finding]:
    for reason, names in skipped.items():
        yield advice(
            reason.split(':')[0].split(' ')[0] if ':' in reason else 'reading',
            f'not read, so these checks did not run: {", ".join(names)} ({reason})',
        ).of('not-read')
