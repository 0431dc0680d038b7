"""Train a segmentor: the options of MMSegmentation's own script, and a CPU is enough."""

import argparse

from mmseg_balance.commands.options import add_run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance train``."""
    add_run_options(parser)
    parser.add_argument(
        '--resume',
        action='store_true',
        help='go on from the latest checkpoint in the work directory',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on an accelerator, bfloat16 on a CPU',
    )


def run(args: argparse.Namespace) -> None:
    """Train what the config says."""
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmseg_balance.runtime import cpu, launching

    cfg = launching.load_config(args)
    cfg.resume = args.resume
    if args.amp:
        launching.use_mixed_precision(cfg)
    with launching.errors_in_one_sentence():
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
        runner.train()
    cpu.leave_processes_on_cpu()
