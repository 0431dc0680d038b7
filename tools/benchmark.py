"""Measure losses, calibration metric, statistics and samplers against what else one would run."""

import argparse
from pathlib import Path

import torch

import mmseg_balance  # noqa: F401  first: it makes MMSegmentation importable
from mmseg_balance.benchmarking import losses, metric, record, sampler, statistics
from mmseg_balance.benchmarking.timing import CLOCKS

COMMANDS = {'losses': losses, 'metric': metric, 'statistics': statistics, 'sampler': sampler}
DEVICES = {
    losses: ('cpu', 'cuda'),
    metric: ('cpu', 'cuda'),
    statistics: ('cpu',),
    sampler: ('cpu',),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name, help=module.__doc__.splitlines()[0], description=module.__doc__
        )
        command.add_argument(
            '--device', choices=DEVICES[module], default='cpu', help='where to run'
        )
        command.add_argument('--threads', type=int, default=1, help="PyTorch's threads on the CPU")
        command.add_argument('--repeat', type=int, default=9, help='rounds that count')
        command.add_argument(
            '--clock',
            choices=CLOCKS,
            help="device: a GPU's own time, without its launches (there the "
            "default; else wall); thread: only this program's time, for one "
            'thread on a busy CPU',
        )
        command.add_argument('--seed', type=int, default=0, help='of the data')
        command.add_argument(
            '--json',
            type=Path,
            metavar='FILE',
            help='write the measurement here; tables of other sizes stay',
        )
        command.add_argument(
            '--markdown',
            type=Path,
            metavar='FILE',
            help='write the tables here, or in their place in docs/benchmarks.md',
        )
        module.add_arguments(command)
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: PyTorch sees no GPU here')
    args.clock = args.clock or ('device' if args.device == 'cuda' else 'wall')
    if args.clock == 'device' and args.device == 'cpu':
        parser.error('--clock device reads a GPU: add --device cuda')
    if args.clock == 'thread' and (args.device == 'cuda' or args.threads != 1):
        parser.error('--clock thread reads one CPU thread: leave out --device cuda and --threads')
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    facts = record.environment(args.device, args.clock, args.seed)
    tables = []
    for table in COMMANDS[args.command].run(args):
        record.show(table['rows'], table['title'])
        tables.append(dict(title=table['title'], environment=facts, rows=table['rows']))
        # After each, so that a run that is stopped leaves what it has measured.
        written = record.write(args.json, args.command, tables) if args.json else tables
        if args.markdown:
            record.write_markdown(args.markdown, f'{args.command} {args.device}', written)


if __name__ == '__main__':
    main()
