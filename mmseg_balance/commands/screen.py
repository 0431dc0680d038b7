"""Which loss, sampler and decision for my data? Train only the decode head of a checkpoint."""

import argparse
from pathlib import Path

from mmseg_balance.commands.options import (
    GROUPS_HELP,
    add_cfg_options,
    add_engine_options,
    add_tune_options,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser, or to the parser of a subcommand."""
    add = parser.add_argument
    add('config', help='any MMSegmentation config')
    add('checkpoint', help='checkpoint that was trained with it: file or URL')
    add(
        '--losses',
        nargs='+',
        default=['all'],
        metavar='LOSS',
        help='names in configs/_base_/losses, or .py files that set loss_decode; all: every file '
        'there (default); differences are taken from the first',
    )
    add(
        '--samplers',
        nargs='+',
        default=['config'],
        metavar='SAMPLER',
        help='names in configs/_base_/samplers, or .py files; config: the one of the config',
    )
    add(
        '--decisions',
        nargs='+',
        default=['argmax'],
        metavar='RULE',
        help='rules that turn logits into classes (default: argmax)',
    )
    add('--seeds', nargs='+', type=int, default=[0], metavar='SEED', help='each head once per seed')
    add('--iters', type=int, metavar='N', help="iterations (default: a tenth of the config's)")
    add(
        '--head',
        choices=['keep', 'reset'],
        default='keep',
        help="start from the checkpoint's head (default) or from new weights",
    )
    add(
        '--choose-by',
        default='mIoU',
        metavar='SCORE',
        help='score on dev that the recommendation goes by (default: mIoU)',
    )
    add('--groups', default='images', metavar='GROUPS', help=GROUPS_HELP)
    add_tune_options(parser)
    add(
        '--keep',
        nargs=2,
        metavar=('METHOD', 'OUT.pth'),
        help='write the network with the head of this method as a checkpoint',
    )
    add('--heads', type=int, default=16, metavar='N', help='most heads in a process (memory)')
    add('--amp', action='store_true', help='train the heads in mixed precision')
    add(
        '--work-dir',
        type=Path,
        help='where everything goes (default: work_dirs/screen/<config name>)',
    )
    add_cfg_options(parser)
    add(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        help='how a process is started (default: pytorch with --gpus above 1, or none)',
    )
    add('--gpus', type=int, default=1, help='processes that train one group of heads together')
    add_engine_options(parser)
    add('--images', type=int, default=12, metavar='N', help='test images shown in the report')
    add('--strips', type=int, default=6, metavar='N', help='of these, how many are shown')
    add(
        '--report-only',
        action='store_true',
        help='make tables and report again from the finished heads',
    )


def run(args: argparse.Namespace) -> int:
    """Screen; 2 if an input is at fault."""
    from mmseg_balance.experiments.screen import command

    return command.run(args)
