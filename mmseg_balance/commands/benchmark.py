"""Measure losses, metric, statistics, samplers and runs against what else one would do."""

import argparse
from pathlib import Path

from mmseg_balance.commands.verbs import Verb, add_verbs

TABLES = {
    'losses': Verb('mmseg_balance.benchmarking.losses', 'losses against F.cross_entropy'),
    'metric': Verb(
        'mmseg_balance.benchmarking.metric', 'CalibrationMetric and decisions against a softmax'
    ),
    'statistics': Verb('mmseg_balance.benchmarking.statistics', 'the scan of the labels'),
    'sampler': Verb('mmseg_balance.benchmarking.sampler', 'batches of the samplers'),
    'jobs': Verb('mmseg_balance.experiments.speed_up', 'runs of a comparison at the same time'),
}
ON_A_GPU = ('losses', 'metric')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-command for each table."""
    for name, table in add_verbs(parser, TABLES, run_as='measure').items():
        devices = ('cpu', 'cuda') if name in ON_A_GPU else ('cpu',)
        table.add_argument('--device', choices=devices, default='cpu', help='where to run')
        table.add_argument('--threads', type=int, default=1, help="PyTorch's threads on the CPU")
        table.add_argument('--repeat', type=int, default=9, help='rounds that count')
        table.add_argument(
            '--clock',
            choices=('wall', 'thread', 'device'),
            help="device: a GPU's own time, without its launches (there the "
            "default; else wall); thread: only this program's time, for one "
            'thread on a busy CPU',
        )
        table.add_argument('--seed', type=int, default=0, help='of the data')
        table.add_argument(
            '--json',
            type=Path,
            metavar='FILE',
            help='write the measurement here; tables of other sizes stay',
        )
        table.add_argument(
            '--markdown',
            type=Path,
            metavar='FILE',
            help='write the tables here, or in their place in docs/benchmarks.md',
        )


def check(args: argparse.Namespace) -> None:
    """Choose the clock, and refuse options that this machine or the clock cannot serve.

    Raises:
        SystemExit: says which.
    """
    import torch

    for name in ('repeat', 'threads'):
        if getattr(args, name) < 1:
            raise SystemExit(f'error: --{name} must be at least 1, got {getattr(args, name)}')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise SystemExit('error: --device cuda: PyTorch sees no GPU here')
    args.clock = args.clock or ('device' if args.device == 'cuda' else 'wall')
    if args.clock == 'device' and args.device == 'cpu':
        raise SystemExit('error: --clock device reads a GPU: add --device cuda')
    if args.clock == 'thread' and (args.device == 'cuda' or args.threads != 1):
        raise SystemExit(
            'error: --clock thread reads one CPU thread: leave out --device cuda and --threads'
        )


def run(args: argparse.Namespace) -> None:
    """Measure, and show and write each table as soon as it is there."""
    import torch

    from mmseg_balance.benchmarking import record
    from mmseg_balance.benchmarking.peers import PEERS

    check(args)
    torch.set_num_threads(args.threads)
    also = PEERS if getattr(args, 'peers', False) else ()
    facts = record.environment(args.device, args.clock, args.seed, also)
    tables = []
    try:
        for table in args.measure(args):
            record.show(table['rows'], table['title'])
            tables.append(dict(title=table['title'], environment=facts, rows=table['rows']))
            # After each, so that a run that is stopped leaves what it has measured.
            written = record.write(args.json, args.measure_name, tables) if args.json else tables
            if args.markdown:
                record.write_markdown(args.markdown, f'{args.measure_name} {args.device}', written)
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from None
