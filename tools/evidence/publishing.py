"""From the results.json of a work dir to ``docs/results/NAME.json`` and its confusion matrices."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from mmseg_balance.experiments.plan import CHECKPOINT
from mmseg_balance.experiments.recommendation import all_differences
from mmseg_balance.experiments.results import FORMAT, load_results, read_json
from mmseg_balance.runtime.atomic_files import write_text
from mmseg_balance.runtime.json_files import plain

CONFUSIONS = 'confusions'
AND = ' and '  # between commands
BETWEEN = re.compile(f'{AND}(?=mmseg-balance |python -m )')
FILE_LIMIT, NAME_LIMIT = 300_000, 10_000_000  # bytes
RUN = ('method', 'loss', 'sampler', 'decision', 'seed', 'split', 'scores', 'per_class', 'settings')
STATE = ('recipe', 'sha256', 'commits')  # of trainings
CURVES = ('mIoU', 'imbalance/mRecall', 'imbalance/acc', 'imbalance/mIoU_tail', 'cal')
DIGITS = 5
ABSOLUTE = re.compile(r'(?:^|[\s="\'])(/(?:[\w.+-]+/)+[\w.+-]*)')


def publish(
    work_dir: Path,
    name: str,
    out: Path,
    *,
    title: str = '',
    note: str = '',
    commit: str = '',
    show_as: Mapping[str, str] | None = None,
) -> Path:
    """Write what is kept of a finished screening, comparison or set of trainings.

    Args:
        work_dir: With results.json.
        name: Of the file.
        out: Folder of the files, ``docs/results``.
        title: What the tables are headed with.
        note: What a reader must know and no field says.
        commit: Of the code, where the runs themselves do not say.
        show_as: Folders of this machine and what stands in their place in commands.

    Returns:
        Path of the JSON.

    Raises:
        ValueError: unfinished, or a path of this machine is left in it.
    """
    results = load_results(work_dir)
    if not results['runs'] or (not results['differences'] and _methods(results) > 1):
        raise ValueError(f'{work_dir}: not finished, there are no runs or no differences.')
    runs = [_run(run, work_dir) for run in results['runs']]
    copies = _small_confusions(runs, work_dir, out / CONFUSIONS / name)
    commits = sorted({c for run in runs for c in run.get('commits', [])}) or [commit or 'unknown']
    content = {
        'format': FORMAT,
        'verb': results.get('verb', 'compare'),
        'title': title or name,
        'command': AND.join(
            dict.fromkeys(_shown(call['command'], show_as) for call in results['calls'])
        ),
        'note': note,
        'commit': ', '.join(commits),
        **{key: results[key] for key in ('setting', 'environment', 'classes', 'groups')},
        'trials': results.get('trials', []),
        'runs': runs,
        'differences': [*results['differences'], *from_own_loss(results, work_dir)],
        'recommended': results['recommended'],
        'unfinished': [f'{run["method"]}, seed {run["seed"]}' for run in results['unfinished']],
    }
    text = _shown(as_text(_rounded(plain(content))), show_as)
    left = ABSOLUTE.findall(text)
    if left:
        raise ValueError(f'{left[0]} is a path of this machine; give --show-as {left[0]}=NAME.')
    shutil.rmtree(out / CONFUSIONS / name, ignore_errors=True)
    for source, target in copies:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    write_text(out / f'{name}.json', text)
    return out / f'{name}.json'


def from_own_loss(results: Mapping, work_dir: Path) -> list[dict]:
    """Differences of ``LOSS + SAMPLER`` and ``LOSS + DECISION`` from the loss alone.

    The results have them for the baseline's loss. Holm's adjustment is over all that is combined
    with the same loss.
    """
    methods = list(dict.fromkeys(run['method'] for run in results['runs']))
    groups = results['setting'].get('groups', 'images')
    rows = []
    for loss in methods[1:]:
        if ' + ' in loss or loss == CHECKPOINT:
            continue
        family = [name for name in methods if name.startswith(f'{loss} + ')]
        if family:
            runs = [
                run for name in (loss, *family) for run in results['runs'] if run['method'] == name
            ]
            rows += all_differences({**results, 'runs': runs}, work_dir, groups)
    return rows


def as_text(content: dict) -> str:
    """JSON with a line for each key, and for each entry of a long list."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            entries = ',\n  '.join(_compact(entry) for entry in value)
            lines.append(f' {json.dumps(key)}: [\n  {entries}\n ]')
        else:
            lines.append(f' {json.dumps(key)}: {_compact(value)}')
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def _compact(value) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _shown(text: str, show_as: Mapping[str, str] | None) -> str:
    for old, new in (show_as or {}).items():
        text = text.replace(old, new)
    return text


def _methods(results: Mapping) -> int:
    return len({run['method'] for run in results['runs']})


def _run(run: dict, work_dir: Path) -> dict:
    kept = {key: run[key] for key in RUN}
    kept['seconds'] = run['seconds']
    kept['confusion'] = run['confusion']
    state = run | read_json(work_dir / run['folder'] / 'state.json', {})
    kept |= {key: state[key] for key in STATE if key in state}
    curves = {key: run['curves'][key] for key in CURVES if key in run.get('curves', {})}
    return {**kept, 'curves': curves} if curves else kept


def _small_confusions(runs: list[dict], work_dir: Path, out: Path) -> list[tuple[Path, Path]]:
    """What to copy beside the JSON; where it is too large, the runs keep the paths they had."""
    sources = [work_dir / run['confusion'] for run in runs]
    sizes = [source.stat().st_size for source in sources]
    if max(sizes) > FILE_LIMIT or sum(sizes) > NAME_LIMIT:
        print(
            f'confusion matrices are not kept: {sum(sizes) / 1e6:.1f} MB, the largest '
            f'{max(sizes) / 1e3:.0f} kB; the JSON has their paths and the command.'
        )
        return []
    copies = []
    for run, source in zip(runs, sources, strict=True):
        method = run['method'].lower().replace(' ', '')
        seed = 'as_trained' if run['seed'] is None else f'seed{run["seed"]}'
        target = out / f'{method}_{seed}_{run["split"]}.npz'
        copies.append((source, target))
        run['confusion'] = target.relative_to(out.parents[1]).as_posix()
    return copies


def _rounded(value):
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value
