"""The numbers that options of ``compare`` and ``screen`` may have."""

import argparse

LEAST = {'gpus': 1, 'jobs': 1, 'heads': 1, 'iters': 1, 'tune': 0, 'images': 0, 'strips': 0}


def check_numbers(args: argparse.Namespace) -> None:
    """Raise ValueError for a number below its least, and for processes that nothing starts."""
    for name, least in LEAST.items():
        number = getattr(args, name, None)
        if number is not None:
            at_least(f'--{name}', number, least)
    if args.launcher == 'none' and args.gpus > 1:
        raise ValueError(
            f'--launcher none --gpus {args.gpus}: none starts one process; leave out --launcher, '
            'or give pytorch or slurm.'
        )


def at_least(option: str, number: int, least: int) -> None:
    """Raise ValueError, naming the option, for a number below the least.

    Example:
        >>> at_least('--jobs', 0, 1)
        Traceback (most recent call last):
        ValueError: --jobs 0: give 1 or more.
    """
    if number < least:
        raise ValueError(f'{option} {number}: give {least} or more.')
