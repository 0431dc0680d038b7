"""Compare losses and samplers on your data: train and test each, and report on all of them."""

import argparse

from mmseg_balance.commands.options import (
    add_method_options,
    add_process_options,
    add_report_options,
    add_tune_options,
)
from mmseg_balance.overrides import add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance compare``."""
    parser.add_argument('config', help='the config whose loss and sampler are replaced')
    add_method_options(parser, ['ce', 'wce', 'lmp', 'recall'], 'gains are over the first')
    parser.add_argument(
        '--iters',
        type=int,
        metavar='N',
        help='train for N iterations instead; schedules and intervals shrink along',
    )
    add_cfg_options(parser)
    add_process_options(parser, 'run')
    add_tune_options(parser)
    add_report_options(parser, 'compare', images=24)


def run(args: argparse.Namespace) -> int:
    """Run the comparison; 2 if an input is at fault."""
    from mmseg_balance.experiments import compare

    return compare.run(args)
