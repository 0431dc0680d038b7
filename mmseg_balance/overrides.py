"""``KEY=VALUE`` on the command line; MMEngine is imported when the option is given."""

import argparse


class KeyValues(argparse.Action):
    """MMEngine's ``DictAction`` that refuses what has no key or no ``=``."""

    def __call__(self, parser, namespace, values, option_string=None):
        from mmengine.config import DictAction

        for value in values:
            key, sign, _ = value.partition('=')
            if not key or not sign:
                lacking = '"="' if key else 'key'
                remedy = 'give KEY=VALUE, and name the config before this option'
                raise argparse.ArgumentError(self, f'{value!r} has no {lacking}: {remedy}')
        DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)


def add_key_values(parser: argparse.ArgumentParser, option: str, about: str) -> None:
    """Add ``option KEY=VALUE …``, with ``about`` as its help."""
    parser.add_argument(option, nargs='+', action=KeyValues, metavar='KEY=VALUE', help=about)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options KEY=VALUE …``, which every verb that reads a config has."""
    about = 'override entries of the config: model.decode_head.dropout_ratio=0'
    add_key_values(parser, '--cfg-options', about)
