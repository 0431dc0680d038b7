"""What a check reports."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

ERROR, WARNING, ADVICE = SEVERITIES = ('error', 'warning', 'advice')


@dataclass(frozen=True)
class Finding:
    """One thing about a config or its labels that its owner should know.

    Args:
        severity: ``'error'`` (training fails, or learns something else than was meant),
            ``'warning'`` (results suffer) or ``'advice'``.
        where: the key of the config, or the file.
        message: what it does to the training.
        change: what to do, as text to paste where that is possible.
        check: name of the check; filled in by the caller of the check.
        fix: changes of the config that are safe to make unseen, see
            :func:`~mmseg_balance.doctor.fixes.apply_fix`.
        files: (kind, path) of files that show it, kind ``'image'`` or ``'labels'``.
    """

    severity: str
    where: str
    message: str
    change: str = ''
    check: str = ''
    fix: Mapping[str, Any] | None = None
    files: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, str]:
        """The fields that ``--json`` writes."""
        keys = ('check', 'severity', 'where', 'message', 'change')
        return {key: getattr(self, key) for key in keys}

    def of(self, check: str) -> 'Finding':
        """The same finding under the name of its check."""
        return replace(self, check=check)


def error(where: str, message: str, change: str = '', **more) -> Finding:
    """A finding without whose change the training fails or learns something else."""
    return Finding(ERROR, where, message, change, **more)


def warning(where: str, message: str, change: str = '', **more) -> Finding:
    """A finding that makes the results worse."""
    return Finding(WARNING, where, message, change, **more)


def advice(where: str, message: str, change: str = '', **more) -> Finding:
    """A finding to know of."""
    return Finding(ADVICE, where, message, change, **more)


def text_of(problem: Exception) -> str:
    """An exception on one line.

    >>> text_of(KeyError('a')), text_of(AssertionError())
    ("KeyError: 'a'", 'AssertionError')
    """
    said = str(problem).partition('\n')[0]
    return type(problem).__name__ + (f': {said}' if said else '')


def not_built(where: str, problem: Exception) -> Finding:
    """The finding for what a constructor raised.

    >>> not_built('model', AssertionError()).message
    'it cannot be built: AssertionError'
    """
    message = f'it cannot be built: {text_of(problem)}'
    return error(where, message, 'correct the argument that the message names')


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then advice; in each, the order they were found in."""
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))


def count(findings: Iterable[Finding]) -> dict[str, int]:
    """Number of findings of each severity.

    >>> count([error('a', 'b'), advice('a', 'c'), advice('a', 'd')])
    {'error': 1, 'warning': 0, 'advice': 2}
    """
    severities = [one.severity for one in findings]
    return {severity: severities.count(severity) for severity in SEVERITIES}
