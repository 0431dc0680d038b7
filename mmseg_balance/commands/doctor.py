"""Say what is wrong with a config and its labels, before a GPU-hour is spent."""

import argparse
from pathlib import Path

from mmseg_balance.overrides import add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('config', nargs='?', help='any MMSegmentation config')
    parser.add_argument(
        '--list', action='store_true', help='print the table of all checks (Markdown) and stop'
    )
    parser.add_argument(
        '--fix',
        type=Path,
        metavar='OUT.py',
        help='write a config that inherits CONFIG and makes the safe changes',
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the findings as JSON')
    parser.add_argument(
        '--html',
        type=Path,
        metavar='FILE',
        help='where the page goes (default: work_dirs/doctor/CONFIG/doctor.html)',
    )
    parser.add_argument(
        '--gpus',
        type=int,
        metavar='N',
        help='GPUs of the training (default: by the name of the config, as in 4xb2, else 1)',
    )
    parser.add_argument(
        '--no-labels',
        action='store_true',
        help='look at the config alone, not at label maps and images',
    )
    parser.add_argument('--quiet', action='store_true', help='no progress bars')
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> int:
    """Examine, print, write; 1 if there is an error among the findings, else 0."""
    from mmseg_balance.doctor import command

    return command.run(args)
