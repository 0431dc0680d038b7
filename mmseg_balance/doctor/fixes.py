"""A config that inherits the user's and makes the changes that are safe."""

import os
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_balance.doctor.config_view import Loss
from mmseg_balance.doctor.findings import ADVICE, Finding
from mmseg_balance.runtime.config_files import is_pure_python, read_config

REGISTER = {'custom_imports.imports+': ['mmseg_balance']}
KEPT = ('loss_weight', 'loss_name', 'class_weight')


def replacement(loss: Loss, kind: str, **arguments) -> dict:
    """A fix that puts a loss of this package in the place of another, name and weight kept."""
    kept = {name: loss.config[name] for name in KEPT if loss.config.get(name) is not None}
    return {loss.key: dict(type=kind, **arguments, **kept), **REGISTER}


def apply_fix(content: dict, fix: Mapping[str, Any]) -> None:
    """Make the changes of one finding in the content of a config.

    Args:
        content: nested dicts and lists, changed in place.
        fix: ``'key.of.the.config'`` → its new value; ``'key+'`` → items that its list must have.

    >>> content = dict(model=dict(heads=[dict(a=1)]), hooks=['x'])
    >>> apply_fix(content, {'model.heads.0.a': 2, 'hooks+': ['x', 'y']})
    >>> content
    {'model': {'heads': [{'a': 2}]}, 'hooks': ['x', 'y']}
    """
    for key, value in fix.items():
        *path, last = key.removesuffix('+').split('.')
        place: Any = content
        for name in path:
            if isinstance(place, dict) and place.get(name) is None:
                place[name] = {}
            place = place[int(name) if isinstance(place, list) else name]
        last = int(last) if isinstance(place, list) else last
        if key.endswith('+'):
            there = place.get(last) or []
            there = list(there) if isinstance(there, (list, tuple)) else [there]
            value = there + [item for item in value if item not in there]
        place[last] = deepcopy(value)


def overrides_of(before: Mapping, after: Mapping) -> dict:
    """What a config must set to turn the one that it inherits into ``after``.

    >>> overrides_of(dict(a=1, b=dict(type='X', c=2)), dict(a=1, b=dict(type='X', c=3)))
    {'b': {'c': 3}}
    >>> overrides_of(dict(b=dict(type='X', c=2)), dict(b=dict(type='Y')))
    {'b': {'_delete_': True, 'type': 'Y'}}
    >>> overrides_of(dict(b=None), dict(b=dict(type='Y')))
    {'b': {'_delete_': True, 'type': 'Y'}}
    """
    changed = {}
    for key, new in after.items():
        old = before.get(key)
        if key in before and old == new:
            continue
        if key not in before or not isinstance(new, Mapping):
            changed[key] = new
        elif isinstance(old, Mapping) and set(old) <= set(new):
            changed[key] = overrides_of(old, new)
        else:  # MMEngine puts a dict in the place of anything else only if it is told to
            changed[key] = {'_delete_': True, **new}
    return changed


def as_text(overrides: Mapping) -> str:
    """The overrides as they stand in a config file.

    >>> print(as_text(dict(loss=dict(class_weight=[1.0, 2.5, 3.0]))))
    loss = dict(class_weight=[1.0, 2.5, 3.0])
    """
    text = Config(deepcopy(dict(overrides))).pretty_text.strip()
    return re.sub(r'\[\s*((?:[\w.+-]+,\s*)+)\]', _on_one_line, text)


def _on_one_line(numbers: re.Match) -> str:
    return '[' + ' '.join(numbers[1].split()).removesuffix(',') + ']'


def fix_text(config: Config, fix: Mapping[str, Any]) -> str:
    """The changes of one finding as text to paste into a config that inherits this one."""
    return as_text(overrides_of(_content(config), _content(config, fix.items())))


def fixed_config(
    config: Config, findings: Iterable[Finding], source: str | os.PathLike, out: str | os.PathLike
) -> tuple[str, list[Finding]]:
    """Text of a config with the safe changes of errors and warnings, and whose they are.

    Args:
        config: what the doctor read, overrides of the command line included: they will stand in the
            text, too.
        findings: what it found.
        source: the user's config, to inherit from, which no text can do from one of pure Python:
            then it is all there.
        out: where the text will be saved: the base is named relative to it.
    """
    made = [one for one in findings if one.fix and one.severity != ADVICE]
    changes = [item for finding in made for item in finding.fix.items()]
    # A loss that is replaced comes before a change of one of its arguments.
    changes.sort(key=lambda item: item[0].count('.'))
    after = _content(config, changes)
    base = os.path.relpath(Path(source).resolve(), Path(out).resolve().parent)
    lines = [f'# {base} with these changes (mmseg-balance doctor --fix):']
    lines += [f'# - {finding.check}: {finding.where}' for finding in made]
    if is_pure_python(source):
        lines.append(as_text(after))
    else:
        before = _content(read_config(source, import_custom_modules=False))
        lines += [f'_base_ = {Path(base).as_posix()!r}', as_text(overrides_of(before, after))]
    return '\n'.join(lines).rstrip() + '\n', made


def _content(config: Config, changes: Iterable[tuple[str, Any]] = ()) -> dict:
    """What is in a config, with some changes."""
    scope = config.get('default_scope')
    content = deepcopy(plain(config._cfg_dict, scope))
    for key, value in changes:
        apply_fix(content, {key: plain(value, scope)})
    return content


def plain(value: Any, scope: str | None) -> Any:
    """Plain dicts and lists of a config's content, without what names the scope that holds anyway.

    MMEngine gives every part of an ``mmseg::`` base the key ``_scope_``.

    >>> plain([dict(type='PolyLR', _scope_='mmseg'), dict(type='X', _scope_='mmdet')], 'mmseg')
    [{'type': 'PolyLR'}, {'type': 'X', '_scope_': 'mmdet'}]
    """
    if isinstance(value, Mapping):
        return {
            key: plain(item, scope)
            for key, item in value.items()
            if (key, item) != ('_scope_', scope)
        }
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item, scope) for item in value)
    return value
