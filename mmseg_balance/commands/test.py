"""Test a checkpoint: the options of MMSegmentation's own script, and a CPU is enough."""

import argparse

from mmseg_balance.commands.options import add_run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance test``."""
    add_run_options(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', help='directory for the predicted label maps (PNG)')
    parser.add_argument('--show', action='store_true', help='show each prediction on the screen')
    parser.add_argument('--show-dir', help='directory for painted predictions beside the labels')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds per --show picture')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')


def run(args: argparse.Namespace) -> None:
    """Test the checkpoint on the config's test set."""
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmseg_balance.runtime import checkpoints, cpu, launching

    with launching.errors_in_one_sentence():
        checkpoints.check_there(args.checkpoint)
    cfg = launching.load_config(args)
    cfg.load_from = args.checkpoint
    if args.show or args.show_dir:
        launching.draw_predictions(cfg, args.show_dir, args.show, args.wait_time)
    if args.tta:
        launching.use_test_time_augmentation(cfg)
    if args.out:
        launching.save_predictions(cfg, args.out)
    with launching.errors_in_one_sentence():
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
        checkpoints.check_fit(runner.model, args.checkpoint)
        runner.test()
    cpu.leave_processes_on_cpu()
