"""What the sections that are not a command of their own have in common: arguments, output."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

import mmseg_balance  # noqa: F401  first: it makes MMSegmentation importable
from mmseg_balance.benchmarking import record


def run_section(name: str, measure: Callable[[bool], Iterable[dict]]) -> None:
    """Write each table of ``measure(dry_run)`` to ``--json FILE`` when it is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--json', type=Path, required=True, metavar='FILE')
    parser.add_argument('--dry-run', action='store_true')
    args = parser.parse_args()
    device = 'cpu' if args.dry_run else 'cuda'
    facts = record.environment(device, 'wall', seed=0)
    torch.manual_seed(0)
    for table in measure(args.dry_run):
        record.write(args.json, name, [dict(table, environment=facts)])
