"""Reads the numbers that a training wrote (MMEngine's ``vis_data/scalars.json``)."""

import json
from pathlib import Path
from statistics import median

NOT_CURVES = ('lr', 'base_lr', 'data_time', 'time', 'step', 'iter', 'epoch', 'memory')


def read_scalars(train_dir: Path) -> list[dict]:
    """All lines of all (resumed) parts of a training, in the order they were written."""
    rows = []
    for path in sorted(train_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:  # the last line of a killed process
                continue
    return rows


def last_step(train_dir: Path) -> int:
    """How far the training is, in iterations (0: not known yet)."""
    parts = sorted(train_dir.glob('*/vis_data/scalars.json'))
    for path in reversed(parts):
        for line in reversed(path.read_text(encoding='utf-8').splitlines()):
            try:
                return int(json.loads(line).get('step', 0))
            except json.JSONDecodeError:
                continue
    return 0


def curves(rows: list[dict]) -> dict[str, list[list[float]]]:
    """Every logged number against the step; what a resumed part repeats replaces the earlier."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        step = row.get('step')
        for name, value in row.items():
            if step is not None and name not in NOT_CURVES and isinstance(value, int | float):
                found.setdefault(name, {})[int(step)] = float(value)
    return {name: [[s, v] for s, v in sorted(points.items())] for name, points in found.items()}


def cost(rows: list[dict]) -> dict[str, float | None]:
    """Median seconds per iteration and peak GPU memory (MB), None where not logged."""
    training = [row for row in rows if 'time' in row and 'loss' in row]
    memory = [row['memory'] for row in training if 'memory' in row]
    return {
        'seconds_per_iteration': median(r['time'] for r in training) if training else None,
        'memory_mb': max(memory) if memory else None,
    }
