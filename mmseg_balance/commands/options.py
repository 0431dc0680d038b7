"""Options that several verbs share."""

import argparse

GROUPS_HELP = (
    'images that depend on each other, for the intervals: images (none do, default), blocks or '
    'blocks:LENGTH (consecutive video frames), or subjects:REGEX with a group for the subject'
)


class ConfigOverrides(argparse.Action):
    """MMEngine's ``DictAction``, imported when the option is given."""

    def __call__(self, parser, namespace, values, option_string=None):
        from mmengine.config import DictAction

        DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options KEY=VALUE …``, which every verb that reads a config has."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOverrides,
        metavar='KEY=VALUE',
        help='override entries of the config: model.decode_head.dropout_ratio=0',
    )


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


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add where and how many runs go on at a time."""
    parser.add_argument(
        '--engine', choices=('local', 'ray'), default='local', help='this machine, or a Ray cluster'
    )
    parser.add_argument(
        '--jobs', type=int, default=1, metavar='N', help='processes at a time, for --engine local'
    )
    add_address(parser)


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
