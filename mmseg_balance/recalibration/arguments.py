"""The options of ``calibrate`` on a command line."""

import argparse
from dataclasses import fields

from mmseg_balance.recalibration.settings import FIT_ON, JUDGES, METHODS, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all options but those that say how a config is overridden."""
    parser.add_argument('config', help='config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', required=True, help='new checkpoint, written if it is better')
    parser.add_argument(
        '--method',
        choices=METHODS,
        default='temperature',
        help='temperature: one for all classes; class-temperature: one for each; vector: a scale '
        'and a bias for each; iou-bias: a bias for each, for soft mIoU; recall-bias: for mean '
        'recall at a floor of accuracy (default: temperature)',
    )
    parser.add_argument(
        '--fit-on',
        choices=FIT_ON,
        default='half',
        help='fit on every second group of validation images and judge on the others; or on the '
        'first half and the second; or fit on all and judge by cross-fitting (default: half)',
    )
    parser.add_argument(
        '--groups',
        default='images',
        help='images that depend on each other and stay together: images (they do not), blocks, '
        'blocks:LENGTH (of consecutive video frames) or subjects:REGEX (default: images)',
    )
    parser.add_argument(
        '--judge-by',
        choices=JUDGES,
        help='score that must improve on images not fitted on (default: NLL for temperature, '
        'class-temperature and vector, mIoU for iou-bias and --prior-tau, mRecall for recall-bias)',
    )
    parser.add_argument(
        '--accuracy-drop',
        type=float,
        default=0.01,
        help='what accuracy may fall by where mRecall is judged (default: 0.01)',
    )
    parser.add_argument('--temperature', type=float, help='use this one instead of fitting')
    parser.add_argument(
        '--prior-tau',
        type=float,
        default=0.0,
        help='subtract this many times the log of the training priors from the logits; 0 for none',
    )
    parser.add_argument(
        '--statistics',
        default='auto',
        help="statistics file for the priors; 'auto' scans the training set once",
    )
    parser.add_argument('--ignore-index', type=int, help="label to leave out (default: the head's)")
    parser.add_argument('--report', help='JSON file for the scores before and after')


def settings_of(args: argparse.Namespace) -> Settings:
    """What :func:`add_arguments` asked for.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> settings_of(parser.parse_args(['c.py', 'c.pth', '--out=o.pth', '--method=vector'])).judge
        'NLL'
    """
    given = vars(args)
    return Settings(**{f.name: given[f.name] for f in fields(Settings) if f.name in given})
