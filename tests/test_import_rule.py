"""Imports run one way, and nothing is called utils, core or common."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'mmseg_balance'

# What a room may import of the package besides itself. A room that is not listed may import the
# mathematics and the statistics: enough for a loss, a sampler, a metric, a data set.
BUILDING_BLOCKS = {'functional', 'statistics', 'runtime', 'compat'}  # compat says what to install
MAY_IMPORT = {
    'functional': set(),
    'statistics': {'functional', 'runtime', 'compat'},
    'compat': {'runtime'},
    'runtime': {*BUILDING_BLOCKS, 'compat'},
    'hooks': {*BUILDING_BLOCKS, 'runtime'},
    'experiments': {*BUILDING_BLOCKS, 'visualization', 'metrics'},
    'doctor': {*BUILDING_BLOCKS, 'compat', 'experiments', 'runtime'},
    '__init__': None,  # registers everything
}
# The mathematics knows neither the framework nor files nor figures.
NOT_IN_FUNCTIONAL = {'mmengine', 'mmcv', 'mmseg', 'cv2', 'PIL', 'matplotlib', 'rich', 'tests'}
FORBIDDEN_NAMES = {'utils', 'util', 'core', 'common', 'helpers', 'misc'}

SOURCES = sorted(PACKAGE.rglob('*.py'))


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or inside a function, with full names."""
    package = ('mmseg_balance', *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(package[: len(package) + 1 - node.level]) if node.level else ''
            module = '.'.join(part for part in (base, node.module) if part)
            # `from mmseg_balance import losses` imports the room, not only the package.
            yield from (
                (f'{module}.{alias.name}' for alias in node.names)
                if module == 'mmseg_balance'
                else (module,)
            )


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix('').parts[0]


def allowed_rooms(room: str) -> set[str] | None:
    """The rooms that this one may import, itself included; None: all of them."""
    allowed = MAY_IMPORT.get(room, BUILDING_BLOCKS)
    return None if allowed is None else {room, *allowed}


def is_wrong_arrow(room: str, module: str) -> bool:
    top, *rest = module.split('.')
    if top == 'mmseg_balance':
        allowed = allowed_rooms(room)
        return allowed is not None and bool(rest) and rest[0] not in allowed
    return top in ('tools', 'tests') or (room == 'functional' and top in NOT_IN_FUNCTIONAL)


def wrong_arrows(path: Path) -> list[str]:
    room = room_of(path)
    return [module for module in imported_modules(path) if is_wrong_arrow(room, module)]


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    allowed = allowed_rooms(room_of(path))
    assert wrong_arrows(path) == [], f'of this package, {path.name} may import {allowed}'


@pytest.mark.parametrize(
    ('room', 'line', 'is_wrong'),
    [
        ('functional/a.py', 'from mmseg_balance.functional import b', False),
        ('functional/a.py', 'from . import b', False),
        ('functional/a.py', 'from mmseg_balance.losses import b', True),
        ('functional/a.py', 'from ..losses import b', True),
        ('functional/a.py', 'from mmseg.registry import MODELS', True),
        ('functional/a.py', 'def f():\n    import mmengine.dist', True),
        ('losses/a.py', 'from mmseg_balance.functional.pixel import b', False),
        ('losses/a.py', 'from mmseg_balance.hooks import b', True),
        ('losses/a.py', 'from mmseg_balance import hooks', True),
        ('hooks/a.py', 'import tools.train', True),
        ('statistics.py', 'import mmseg_balance.datasets', True),
    ],
)
def test_the_rule_sees_arrows_that_run_back(tmp_path, monkeypatch, room, line, is_wrong):
    monkeypatch.setattr(f'{__name__}.PACKAGE', tmp_path)
    path = tmp_path / room
    path.parent.mkdir(exist_ok=True)
    path.write_text(line)
    assert bool(wrong_arrows(path)) is is_wrong


def test_rooms_are_named_after_what_is_in_them():
    parts = {part for path in SOURCES for part in path.relative_to(PACKAGE).with_suffix('').parts}
    assert parts & FORBIDDEN_NAMES == set()
