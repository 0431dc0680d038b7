"""Calibrate a checkpoint: fit a change of its logits, and fold it in if it helps elsewhere."""

import argparse

from mmengine.config import Config, DictAction
from mmengine.fileio import dump

import mmseg_balance  # noqa: F401  first: it makes mmseg importable
from mmseg_balance.recalibration.arguments import add_arguments, settings_of
from mmseg_balance.recalibration.recalibrate import recalibrate, summary
from mmseg_balance.runtime.checkpoints import CheckpointError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='overrides of the config',
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    config = Config.fromfile(args.config)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    try:
        report = recalibrate(config, args.checkpoint, args.out, settings_of(args))
    except (ValueError, OSError, CheckpointError) as error:
        raise SystemExit(f'error: {error}') from None
    if args.report:
        dump(report, args.report)
    print(summary(report))
    if report['written']:
        print(f'Saved {args.out}')


if __name__ == '__main__':
    main()
