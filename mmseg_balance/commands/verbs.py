"""Sub-commands whose modules are imported only when they are asked for."""

import argparse
import importlib
from typing import NamedTuple


class Verb(NamedTuple):
    """A sub-command: a module that has ``add_arguments(parser)`` and ``run(args)``."""

    module: str
    help: str


class HelpWithDefaults(argparse.HelpFormatter):
    """Says each option's default where its help does not."""

    def _get_help_string(self, action: argparse.Action) -> str:
        default = action.default
        if default in (None, argparse.SUPPRESS) or default is False or 'default' in action.help:
            return action.help
        values = default if isinstance(default, (list, tuple)) else [default]
        return f'{action.help} (default: {" ".join(map(str, values))})'


class LazyParser(argparse.ArgumentParser):
    """A parser of a sub-command, which gets its arguments from a module at the first use.

    Args:
        module: Name of the module.
        run_as: Attribute of the parsed arguments that holds the module's ``run``.
        **options: Options of ``argparse.ArgumentParser``.
    """

    def __init__(self, *, module: str | None = None, run_as: str = 'run', **options) -> None:
        super().__init__(formatter_class=HelpWithDefaults, **options)
        self.module = module
        self.run_as = run_as

    def parse_known_args(self, args=None, namespace=None):
        """Import the module if that has not been done, then parse."""
        if self.module is not None:
            name, self.module = self.module, None
            module = importlib.import_module(name)
            self.description = module.__doc__
            module.add_arguments(self)
            self.set_defaults(**{self.run_as: module.run})
        return super().parse_known_args(args, namespace)


def add_verbs(
    parser: argparse.ArgumentParser, verbs: dict[str, Verb], run_as: str = 'run'
) -> dict[str, LazyParser]:
    """Add sub-commands to a parser, and return their parsers.

    The parsed arguments have the chosen one's ``run`` in the attribute ``run_as``, and its name in
    the attribute ``{run_as}_name``.
    """
    commands = parser.add_subparsers(
        required=True, dest=f'{run_as}_name', metavar='VERB', parser_class=LazyParser, title='verbs'
    )
    return {
        name: commands.add_parser(name, help=verb.help, module=verb.module, run_as=run_as)
        for name, verb in verbs.items()
    }
