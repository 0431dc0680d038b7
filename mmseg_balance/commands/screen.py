"""Which loss, sampler and decision for my data? Train only the decode head of a checkpoint."""

import argparse

from mmseg_balance.commands.options import (
    add_method_options,
    add_process_options,
    add_report_options,
    add_tune_options,
)
from mmseg_balance.overrides import add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance screen``."""
    add = parser.add_argument
    add('config', help='any MMSegmentation config')
    add('checkpoint', help='checkpoint that was trained with it: file or URL')
    add_method_options(
        parser, ['all'], 'all: every file there (default); differences are taken from the first'
    )
    add(
        '--decisions',
        nargs='+',
        default=['argmax'],
        metavar='RULE',
        help='rules that turn logits into classes (default: argmax)',
    )
    add('--iters', type=int, metavar='N', help="iterations (default: a tenth of the config's)")
    add(
        '--head',
        choices=['keep', 'reset'],
        default='keep',
        help="start from the checkpoint's head (default) or from new weights",
    )
    add_tune_options(parser)
    add(
        '--keep',
        nargs=2,
        metavar=('METHOD', 'OUT.pth'),
        help='write the network with the head of this method as a checkpoint',
    )
    add('--heads', type=int, metavar='N', help='most heads in a process (memory; default: 16)')
    add('--amp', action='store_true', help='train the heads in mixed precision')
    add_cfg_options(parser)
    add_process_options(parser, 'group of heads')
    add_report_options(parser, 'screen', images=12)


def run(args: argparse.Namespace) -> int:
    """Screen; 2 if an input is at fault."""
    from mmseg_balance.experiments.screen import command

    return command.run(args)
