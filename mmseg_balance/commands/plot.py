"""Pictures of what metrics measured, class statistics, samplers, schedules and losses."""

import argparse

from mmseg_balance.commands.verbs import Verb, add_verbs

PICTURES = {
    'reliability': Verb(
        'mmseg_balance.visualization.reliability',
        'reliability diagram of one or several CalibrationMetric files',
    ),
    'confusion': Verb(
        'mmseg_balance.visualization.confusion', 'confusion matrix of an ImbalanceMetric file'
    ),
    'gain': Verb(
        'mmseg_balance.visualization.gain',
        'gain per class of run B over run A against pixel count, from ImbalanceMetric files',
    ),
    'tradeoff': Verb(
        'mmseg_balance.visualization.tradeoff',
        'mean accuracy (recall) against mean IoU of several ImbalanceMetric files',
    ),
    'frequency': Verb(
        'mmseg_balance.visualization.frequency',
        'how often each class occurs, from files of class_stats, on a logarithmic scale',
    ),
    'sampling': Verb(
        'mmseg_balance.visualization.sampling',
        'how often batches of a BalanceBatchSampler show each class, against plain sampling',
    ),
    'paste': Verb(
        'mmseg_balance.visualization.paste',
        'training images before and after RareClassPaste, with their labels',
    ),
    'performance': Verb(
        'mmseg_balance.visualization.performance',
        "each class's IoU and its share of the draws over a run with ClassPerformanceHook",
    ),
    'schedule': Verb(
        'mmseg_balance.visualization.schedule',
        'weights of the losses over the run of a config with a LossScheduleHook',
    ),
    'losses': Verb(
        'mmseg_balance.visualization.loss_gallery',
        'what each loss does with the pixels of frequent and rare classes',
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-command for each picture."""
    add_verbs(parser, PICTURES, run_as='draw')


def run(args: argparse.Namespace) -> None:
    """Draw the picture."""
    from mmseg_balance.visualization.style import check_picture

    try:
        if 'out' in args:
            check_picture('--out', args.out)
        args.draw(args)
    # RuntimeError: what BalanceBatchSampler says when it finds no such batch.
    except (ValueError, OSError, RuntimeError) as error:
        from mmseg_balance.runtime.launching import in_one_sentence

        raise SystemExit(f'error: {in_one_sentence(error) or error}') from None
