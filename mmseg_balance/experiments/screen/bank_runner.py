"""The runner of a pass: MMEngine's own, for a bank of heads."""

import time
from collections.abc import Mapping
from inspect import signature
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.runner import Runner
from torch import nn

from mmseg_balance.experiments.results import write_json
from mmseg_balance.experiments.screen.bank import HeadBank
from mmseg_balance.experiments.screen.head_hooks import BankHook, hooks_for_head

RUNNER_ARGUMENTS = set(signature(Runner).parameters) - {'cfg'}
SECONDS_PER_NOTE = 1.0


class PassProgress(Hook):
    """Says how far a pass is, for the process that shows it."""

    priority = 'VERY_LOW'

    def __init__(self, path: Path, iterations: int) -> None:
        self.path, self.iterations, self._last = path, iterations, 0.0

    def note(self, stage: str, done: int, total: int) -> None:
        if is_main_process() and time.monotonic() - self._last > SECONDS_PER_NOTE:
            self._last = time.monotonic()
            write_json(self.path, dict(stage=stage, done=done, total=total))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.note('training', runner.iter + 1, self.iterations)


def bank_runner(
    bank: HeadBank, configs: Mapping[str, Config], folder: Path, progress: PassProgress
) -> 'BankRunner':
    """The runner that trains a bank, from its checkpoint if there is one.

    Args:
        bank: The heads.
        configs: Of the heads, by name; what they share is the first one's.
        folder: Of the pass.
        progress: Says how far it is.
    """
    first = next(iter(configs.values()))
    settings = {key: first[key] for key in RUNNER_ARGUMENTS & set(first)}
    for split in ('val', 'test'):
        settings |= dict.fromkeys(f'{split}_{x}' for x in ('dataloader', 'cfg', 'evaluator'))
    hooks = [
        hook
        for name in bank.tasks
        for hook in hooks_for_head(name, configs[name].get('custom_hooks') or [])
    ]
    wrappers = {
        name: build_optim_wrapper(task, configs[name].optim_wrapper)
        for name, task in bank.tasks.items()
    }
    iterations = first.train_cfg.max_iters
    settings |= dict(
        model=bank,
        work_dir=str(folder / 'train'),
        optim_wrapper=OptimWrapperDict(**wrappers),
        train_cfg=dict(type='FastResumeTrainLoop', max_iters=iterations, val_interval=10**9),
        custom_hooks=[
            dict(type='IterationSeedHook'),
            dict(type='LabelCheckHook', num_images=0),
            BankHook(),
            *hooks,
            progress,
        ],
        default_hooks=_default_hooks(iterations),
        load_from=None,
        resume=True,
        log_level='WARNING',
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        default_scope='mmseg',
        experiment_name=f'screen_{folder.name}_{time.time_ns()}',
    )
    rest = Config({key: value for key, value in first.items() if key not in RUNNER_ARGUMENTS})
    rest.train_dataloader = first.train_dataloader  # what statistics='auto' counts
    return BankRunner(**settings, cfg=rest)


class BankRunner(Runner):
    """A runner whose model synchronises its gradients itself, so that nothing wraps it."""

    def wrap_model(self, model_wrapper_cfg, model: nn.Module) -> nn.Module:
        return super().wrap_model(model_wrapper_cfg, model) if not self.distributed else model


def _default_hooks(iterations: int) -> dict:
    step = max(1, iterations // 10)
    return dict(
        timer=dict(type='IterTimerHook'),
        logger=dict(
            type='LoggerHook', interval=max(1, iterations // 20), log_metric_by_epoch=False
        ),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(
            type='WholeCheckpointHook', by_epoch=False, interval=step, max_keep_ckpts=1
        ),
        sampler_seed=dict(type='DistSamplerSeedHook'),
    )
