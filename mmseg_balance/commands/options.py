"""Options that several verbs share."""

import argparse
from pathlib import Path

from mmseg_balance.overrides import add_cfg_options


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share with MMSegmentation's own scripts."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help="where logs, checkpoints and scores go (default: the config's, or work_dirs/<config name>)",
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes were started (default: none were)',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by the launcher'
    )
    parser.add_argument('--seed', type=int, help='seed of every random number generator')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='unpickle checkpoints without restriction: whoever wrote them can then run code here',
    )


def add_method_options(parser: argparse.ArgumentParser, losses: list[str], more: str) -> None:
    """Add what is compared: losses, samplers and seeds.

    Args:
        losses: the default.
        more: end of the help on losses.
    """
    parser.add_argument(
        '--losses',
        nargs='+',
        default=losses,
        metavar='LOSS',
        help=f'names in configs/_base_/losses, or .py files that set loss_decode; {more}',
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


def add_process_options(parser: argparse.ArgumentParser, unit: str) -> None:
    """Add how a unit of work is started, and where and how many go on at a time."""
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        help=f'how a {unit} is started (default: pytorch with --gpus above 1, or none)',
    )
    parser.add_argument('--gpus', type=int, default=1, help=f'processes per {unit}')
    parser.add_argument(
        '--engine', choices=('local', 'ray'), default='local', help='this machine, or a Ray cluster'
    )
    parser.add_argument(
        '--jobs', type=int, default=1, metavar='N', help='processes at a time, for --engine local'
    )
    add_address(parser)


def add_report_options(parser: argparse.ArgumentParser, verb: str, images: int) -> None:
    """Add where results go, how they are judged and what is shown of them."""
    parser.add_argument(
        '--work-dir',
        type=Path,
        help=f'where everything goes (default: work_dirs/{verb}/<config name>)',
    )
    parser.add_argument(
        '--choose-by',
        metavar='SCORE',
        help='score on dev that the recommendation goes by (default: mIoU)',
    )
    parser.add_argument(
        '--groups',
        metavar='GROUPS',
        help='images that depend on each other, for the intervals: images (none do, default), blocks '
        'or blocks:LENGTH (consecutive video frames), or subjects:REGEX with a group for the subject',
    )
    parser.add_argument(
        '--images',
        type=int,
        default=images,
        metavar='N',
        help='test images whose predictions are kept',
    )
    parser.add_argument(
        '--strips',
        type=int,
        metavar='N',
        help='of these, shown in the report: those that differ most (default: 6)',
    )
    parser.add_argument(
        '--report-only',
        action='store_true',
        help='judge and report again on what is finished; --choose-by, --groups and --strips stay as '
        'they were unless given',
    )


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the address of a Ray cluster."""
    parser.add_argument(
        '--address',
        metavar='HOST:PORT',
        help='of the Ray cluster; auto: the running one (default: a new one on this machine)',
    )


def add_tune_options(parser: argparse.ArgumentParser) -> None:
    """Add how many settings of every method are tried, and with which seed."""
    parser.add_argument(
        '--tune',
        nargs='?',
        type=int,
        const=3,
        default=0,
        metavar='N',
        help='first try N settings of every method on dev (default: 3): those that the loss file '
        'declares as search, filled up with learning rates',
    )
    parser.add_argument(
        '--tune-seed', type=int, default=1000, metavar='SEED', help='seed of the tuning'
    )
