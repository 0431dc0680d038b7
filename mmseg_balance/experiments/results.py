"""results.json: the one file that the tables and the report are made from."""

import json
from pathlib import Path
from typing import Any

from mmseg_balance.runtime.atomic_files import write_text
from mmseg_balance.runtime.json_files import plain

FORMAT = 2


def write_json(path: Path, content: Any) -> None:
    """Writes plain JSON, in one step."""
    write_text(path, json.dumps(plain(content), allow_nan=False))


def read_json(path: Path, default: Any = None) -> Any:
    """Reads a file; ``default`` where there is none or it cannot be read."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, json.JSONDecodeError):
        return default


def save_results(results: dict, folder: Path) -> Path:
    """Writes ``results.json`` into the comparison's folder."""
    path = folder / 'results.json'
    write_json(path, {'format': FORMAT, **results})
    return path


def load_results(folder: Path) -> dict:
    """Reads ``results.json``.

    Raises:
        ValueError: there is none, or it has another format.
    """
    path = folder / 'results.json'
    results = read_json(path)
    if results is None:
        raise ValueError(
            f'{path}: no readable results; run the comparison first (without --report-only).'
        )
    if results.get('format') != FORMAT:
        raise ValueError(
            f'{path}: format {results.get("format")!r} is not {FORMAT}; '
            'run the comparison again, finished runs are kept.'
        )
    return results
