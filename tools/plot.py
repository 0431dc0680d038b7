"""Pictures of what metrics measured, class statistics, samplers, schedules and losses."""

import argparse

import mmseg_balance  # noqa: F401  first: it makes mmseg importable
from mmseg_balance.visualization import (
    confusion,
    frequency,
    gain,
    loss_gallery,
    paste,
    performance,
    reliability,
    sampling,
    schedule,
    tradeoff,
)

COMMANDS = {
    'reliability': reliability,
    'confusion': confusion,
    'gain': gain,
    'tradeoff': tradeoff,
    'frequency': frequency,
    'sampling': sampling,
    'paste': paste,
    'performance': performance,
    'schedule': schedule,
    'losses': loss_gallery,
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(
            commands.add_parser(name, help=command.HELP, description=command.HELP)
        )
    args = parser.parse_args(argv)
    try:
        COMMANDS[args.command].run(args)
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
