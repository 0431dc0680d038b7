"""Calibrate a checkpoint: fit a temperature, adjust for priors, fold both into its weights."""

import argparse

from mmseg_balance.commands.options import add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance calibrate``."""
    parser.add_argument('config', help='config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', required=True, help='new checkpoint to write')
    parser.add_argument(
        '--fit-on',
        metavar='{half,first-half,all}',
        default='half',
        help='fit on every second validation image and measure on the others; or '
        'on the first half and the second; or both on all (default: half)',
    )
    parser.add_argument('--temperature', type=float, help='use this one instead of fitting')
    parser.add_argument(
        '--prior-tau',
        type=float,
        default=0.0,
        help='subtract this many times the log of the training priors from the '
        'logits: more recall of rare classes, less accuracy; 0 for none',
    )
    parser.add_argument(
        '--statistics',
        default='auto',
        help="statistics file for the priors; 'auto' scans the training set once",
    )
    parser.add_argument('--ignore-index', type=int, help="label to leave out (default: the head's)")
    parser.add_argument('--report', help='JSON file for the scores before and after')
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Fit, fold, write the new checkpoint and say what became of the scores."""
    from mmengine.config import Config
    from mmengine.fileio import dump

    from mmseg_balance.recalibration.recalibrate import Settings, recalibrate, summary
    from mmseg_balance.runtime.checkpoints import CheckpointError

    config = Config.fromfile(args.config)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    settings = Settings(
        fit_on=args.fit_on,
        temperature=args.temperature,
        prior_tau=args.prior_tau,
        statistics=args.statistics,
        ignore_index=args.ignore_index,
    )
    try:
        report = recalibrate(config, args.checkpoint, args.out, settings)
    except (ValueError, OSError, CheckpointError) as error:
        raise SystemExit(f'error: {error}') from None
    if args.report:
        dump(report, args.report)
    print(summary(report))
    print(f'Saved {args.out}')
