"""A tiny training whose losses are recorded, to be stopped and resumed."""

import time
from inspect import signature
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import mmseg_balance  # noqa: F401  first: it makes MMSegmentation importable
from tools.bad_inputs import config, write_data

ARGUMENTS = set(signature(Runner).parameters) - {'cfg'}


class Recorder(Hook):
    """Keeps each iteration's loss; ends the run after one of them, as a kill would."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: dict[int, float] = {}
        self.stop_after = stop_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses[runner.iter + 1] = float(outputs['loss'])

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.stop_after:
            raise KeyboardInterrupt


def tiny_config(
    root: Path, work_dir: Path, iterations: int = 8, checkpoint: dict | None = None, **changes
):
    """Dropout and flips; a checkpoint every two iterations."""
    if not root.exists():
        write_data(root)
    cfg = config(root, work_dir, [])
    cfg.model.decode_head.dropout_ratio = 0.5
    cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='RandomFlip', prob=0.5))
    cfg.train_dataloader.dataset.pipeline.insert(3, dict(type='PhotoMetricDistortion'))
    cfg.train_cfg.update(max_iters=iterations, val_interval=100)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks = dict(
        checkpoint=dict(
            type='WholeCheckpointHook', by_epoch=False, interval=2, **(checkpoint or {})
        ),
        logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    )
    cfg.log_level = 'WARNING'
    cfg.merge_from_dict(changes)
    return cfg


def train(cfg, recorder: Recorder | None = None, hooks: list[dict] | None = None) -> Runner:
    """Train with a message hub of its own; a stop by the recorder is no error."""
    init_default_scope('mmseg')
    cfg.experiment_name = f'tiny_{time.time_ns()}'
    cfg.custom_hooks = hooks or []
    # Not from_cfg, which would format the whole config for every checkpoint.
    rest = Config({key: value for key, value in cfg.items() if key not in ARGUMENTS})
    runner = Runner(**{key: cfg[key] for key in ARGUMENTS & set(cfg)}, cfg=rest)
    if recorder is not None:
        runner.register_hook(recorder)
    try:
        runner.train()
    except KeyboardInterrupt:
        assert recorder is not None
    return runner
