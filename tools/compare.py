"""Compare losses and samplers on your data: train and test each, and report on all of them."""

import argparse
import shlex
import signal
import sys
from pathlib import Path

from mmengine.config import DictAction

import mmseg_balance  # noqa: F401  first: it makes mmseg importable
from mmseg_balance.experiments import compare
from mmseg_balance.experiments.engines import add_engine_arguments
from mmseg_balance.experiments.processes import LAUNCHERS

TOOLS = Path(__file__).resolve().parent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='the config whose loss and sampler are replaced')
    parser.add_argument(
        '--losses',
        nargs='+',
        default=['ce', 'wce', 'lmp', 'recall'],
        metavar='LOSS',
        help='names in configs/_base_/losses, or .py files that set loss_decode; gains are over the first',
    )
    parser.add_argument(
        '--samplers',
        nargs='+',
        default=['config'],
        metavar='SAMPLER',
        help='names in configs/_base_/samplers, or .py files; config: the one that the config has',
    )
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        default=[0],
        metavar='SEED',
        help='each loss and sampler is trained once per seed',
    )
    parser.add_argument(
        '--iters',
        type=int,
        metavar='N',
        help='train for N iterations instead; schedules and intervals shrink along',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='where everything goes (default: work_dirs/compare/<config name>)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='overrides of the config, for every run',
    )
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default=None,
        help='how a run is started (default: pytorch with --gpus above 1, or none)',
    )
    parser.add_argument('--gpus', type=int, default=1, help='processes per run')
    add_engine_arguments(parser)
    parser.add_argument(
        '--images', type=int, default=24, metavar='N', help='test images whose predictions are kept'
    )
    parser.add_argument(
        '--strips',
        type=int,
        default=6,
        metavar='N',
        help='images shown in the report, those that differ most',
    )
    parser.add_argument(
        '--report-only',
        action='store_true',
        help='make the tables and the report again from results.json',
    )
    args = parser.parse_args(argv)
    if args.work_dir is None:
        args.work_dir = Path('work_dirs', 'compare', Path(args.config).stem)
    if args.launcher is None:
        args.launcher = 'pytorch' if args.gpus > 1 else 'none'
    return args


def main() -> int:
    args = parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends like Ctrl-C
    command = shlex.join(['python', 'tools/compare.py', *sys.argv[1:]])
    try:
        return compare.main(args, TOOLS, command)
    except ValueError as error:
        print(f'compare.py: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
