"""Calibrate a checkpoint: fit a change of its logits, and fold it in if it helps elsewhere."""

import argparse

from mmseg_balance.overrides import add_cfg_options
from mmseg_balance.recalibration import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance calibrate``."""
    arguments.add_arguments(parser)
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Fit, judge, fold, write the new checkpoint if it is better, and say what became of it."""
    from mmengine.fileio import dump

    from mmseg_balance.recalibration.recalibrate import recalibrate, summary
    from mmseg_balance.runtime.atomic_files import check_output, write_text
    from mmseg_balance.runtime.checkpoints import CheckpointError
    from mmseg_balance.runtime.config_files import override, read_config
    from mmseg_balance.runtime.launching import errors_in_one_sentence

    try:
        if args.report:
            check_output('--report', args.report, ['.json'], {'config': args.config})
        config = read_config(args.config)
        override(config, args.cfg_options)
        with errors_in_one_sentence():
            report = recalibrate(config, args.checkpoint, args.out, arguments.settings_of(args))
        print(summary(report))
        if report['written']:
            print(f'Saved {args.out}')
        if args.report:
            write_text(args.report, dump(report, file_format='json'))
    except (ValueError, OSError, CheckpointError) as error:
        raise SystemExit(f'error: {error}') from None
