"""The JSON file of the scores of one evaluation."""

from collections.abc import Mapping

from mmengine.fileio import dump

from mmseg_balance.runtime.json_files import plain


def write_scores(path: str | None, report: Mapping) -> None:
    """Write a report to a metric's ``out_file``, if it has one; an undefined score is null.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/scores.json'
        >>> write_scores(path, {'scores': {'mF1': float('nan'), 'acc': 0.5}})
        >>> open(path).read()
        '{"scores": {"mF1": null, "acc": 0.5}}'
    """
    if path is not None:
        dump(plain(report), path)
