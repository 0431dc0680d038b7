"""Train a segmentor: the options of MMSegmentation's own script, and a CPU is enough."""

import argparse

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmseg_balance.runtime import cpu, launching


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    launching.add_common_arguments(parser)
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
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = launching.load_config(args)
    cfg.resume = args.resume
    if args.amp:
        launching.use_mixed_precision(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    with launching.errors_in_one_sentence():
        runner.train()
    cpu.leave_processes_on_cpu()


if __name__ == '__main__':
    main()
