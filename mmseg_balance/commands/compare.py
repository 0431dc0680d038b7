"""Compare losses and samplers on your data: train and test each, and report on all of them."""

import argparse
import shlex
import signal
import sys
from pathlib import Path

from mmseg_balance.commands.options import (
    GROUPS_HELP,
    add_cfg_options,
    add_engine_options,
    add_tune_options,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance compare``."""
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
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        default=None,
        help='how a run is started (default: pytorch with --gpus above 1, or none)',
    )
    parser.add_argument('--gpus', type=int, default=1, help='processes per run')
    add_engine_options(parser)
    add_tune_options(parser)
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
        '--choose-by', default='mIoU', metavar='SCORE', help='score on dev that recommends'
    )
    parser.add_argument('--groups', default='images', metavar='GROUPS', help=GROUPS_HELP)
    parser.add_argument(
        '--report-only',
        action='store_true',
        help='make the tables and the report again from results.json',
    )


def run(args: argparse.Namespace) -> int:
    """Run the comparison; 2 if an input is at fault."""
    from mmseg_balance.experiments import compare

    if args.work_dir is None:
        args.work_dir = Path('work_dirs', 'compare', Path(args.config).stem)
    if args.launcher is None:
        args.launcher = 'pytorch' if args.gpus > 1 else 'none'
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends like Ctrl-C
    try:
        return compare.main(args, shlex.join(['mmseg-balance', *args.argv]))
    except ValueError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
