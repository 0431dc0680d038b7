# PYTHON_ARGCOMPLETE_OK
"""The command ``mmseg-balance VERB …``; ``tools/VERB.py`` and ``python -m mmseg_balance`` lead here.

A new verb is a row of :data:`VERBS`.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import mmseg_balance
from mmseg_balance.commands.verbs import Verb, add_verbs
from mmseg_balance.compat import MissingPackageError

CLOSED = 141  # the shell's exit status after SIGPIPE

VERBS = {
    'train': Verb('mmseg_balance.commands.train', 'train a segmentor'),
    'test': Verb('mmseg_balance.commands.test', 'test a checkpoint'),
    'class_stats': Verb(
        'mmseg_balance.commands.class_stats', 'count the classes of a training set'
    ),
    'doctor': Verb(
        'mmseg_balance.commands.doctor', 'say what is wrong with a config and its labels'
    ),
    'screen': Verb(
        'mmseg_balance.commands.screen', 'which loss and sampler? train only the decode head'
    ),
    'compare': Verb('mmseg_balance.commands.compare', 'train and test several losses and samplers'),
    'calibrate': Verb('mmseg_balance.commands.calibrate', 'calibrate a checkpoint'),
    'plot': Verb('mmseg_balance.commands.plot', 'draw measurements, statistics and schedules'),
    'benchmark': Verb('mmseg_balance.commands.benchmark', 'measure time and memory'),
    'convert_labels': Verb(
        'mmseg_balance.commands.convert_labels', 'convert the labels of SBD or SYNTHIA'
    ),
}


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command; a verb's own arguments are added when it is given."""
    parser = argparse.ArgumentParser(
        prog='mmseg-balance',
        description=mmseg_balance.__doc__.splitlines()[0],
        epilog='mmseg-balance VERB --help describes the arguments of a verb',
    )
    parser.add_argument(
        '--version', action='version', version=f'mmseg-balance {mmseg_balance.__version__}'
    )
    add_verbs(parser, VERBS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Verb and arguments (default: those of this process).

    Returns:
        The exit status.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    if '_ARGCOMPLETE' in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    try:
        args = parser.parse_args(argv)
        args.argv = argv
        mmseg_balance.register_all()
    except MissingPackageError as error:
        raise SystemExit(f'error: {error}') from None
    try:
        status = args.run(args) or 0
        sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise  # the pipe of a process of its own
        return CLOSED
    return status


def _nobody_reads() -> bool:
    """Whether the reader of the output has ended, as ``head`` does; what is left then goes nowhere."""
    try:
        print(flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # or Python complains when it ends
        os.close(nowhere)
        return True
    return False
