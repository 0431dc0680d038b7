"""The least that a number of ``compare`` and ``screen`` may be."""

import argparse

LEAST = {'gpus': 1, 'jobs': 1, 'heads': 1, 'iters': 1, 'tune': 0, 'images': 0, 'strips': 0}


def check_numbers(args: argparse.Namespace) -> None:
    """Raise ValueError for an option with a number below its least."""
    for name, least in LEAST.items():
        number = getattr(args, name, None)
        if number is not None:
            at_least(f'--{name}', number, least)


def at_least(option: str, number: int, least: int) -> int:
    """The number if it is not below the least, else a ValueError that names the option.

    Example:
        >>> at_least('--jobs', 0, 1)
        Traceback (most recent call last):
        ValueError: --jobs 0: give 1 or more.
    """
    if number < least:
        raise ValueError(f'{option} {number}: give {least} or more.')
    return number
