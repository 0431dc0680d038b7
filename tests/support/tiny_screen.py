"""A tiny network with a checkpoint, screened in this process."""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS

import mmseg_balance  # noqa: F401  first: it makes MMSegmentation importable
from mmseg_balance.commands.screen import add_arguments
from mmseg_balance.experiments.compare import config_roots
from mmseg_balance.experiments.merging import merge_run, prepare_base
from mmseg_balance.experiments.plan import plan_runs
from mmseg_balance.experiments.screen import passes, worker
from tools.bad_inputs import config, write_data


def screen_config(root: Path, **changes) -> Config:
    """Dropout, flips, a frozen ResNet with norms in evaluation mode; three splits of six images."""
    init_default_scope('mmseg')
    if not (root / 'data').exists():
        write_data(root / 'data')
    cfg = config(root / 'data', root / 'unused', [])
    cfg.model.decode_head.dropout_ratio = 0.5
    cfg.model.backbone.update(frozen_stages=4, norm_eval=True)
    pipeline = cfg.train_dataloader.dataset.pipeline
    pipeline.insert(2, dict(type='RandomFlip', prob=0.5))
    pipeline.insert(3, dict(type='PhotoMetricDistortion'))
    cfg.optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.01),
        clip_grad=dict(max_norm=1.0),
    )
    cfg.param_scheduler = [
        dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=40, by_epoch=False)
    ]
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=40, val_interval=40)
    cfg.test_dataloader, cfg.test_cfg = cfg.val_dataloader, cfg.val_cfg
    cfg.test_evaluator = cfg.val_evaluator
    cfg.default_scope = 'mmseg'
    cfg.merge_from_dict(changes)
    return cfg


def write_screen(root: Path, **changes) -> tuple[Path, Path]:
    """The config's file, and a checkpoint of random weights."""
    cfg = screen_config(root, **changes)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    path, checkpoint = root / 'tiny.py', root / 'tiny.pth'
    cfg.dump(str(path))
    torch.save({'meta': {}, 'state_dict': model.state_dict()}, checkpoint)
    return path, checkpoint


def stop_in_the_last_report(monkeypatch, module) -> None:
    """Ctrl-C while a verb's module publishes what is finished."""
    publish = module.publish

    def stopped(work_dir, facts, trials, final):
        if final:
            raise KeyboardInterrupt
        publish(work_dir, facts, trials, final)

    monkeypatch.setattr(module, 'publish', stopped)


def parse(*arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([str(argument) for argument in arguments])
    args.argv = ['screen', *map(str, arguments)]
    return args


def workers_in_this_process(monkeypatch) -> list[Path]:
    """Runs workers here instead of in processes of their own; returns the folders they were given."""
    folders = []

    def run_process(command, log, on_tick, keep_open=(), environment=None) -> int:
        folders.append(Path(command[-1]))
        status = worker.main([command[-1]])
        on_tick()
        return status

    monkeypatch.setattr(passes, 'run_process', run_process)
    return folders


def plain_training(
    config: Path, checkpoint: Path, work_dir: Path, loss: str, sampler: str = 'config'
) -> dict[str, torch.Tensor]:
    """The weights after MMEngine's own training of the network, backbone frozen, for 8 iterations."""
    roots = config_roots(str(config))
    base = prepare_base(config, iters=8)
    (run,) = plan_runs([loss], [sampler], [0], roots)
    cfg = merge_run(base, run)
    cfg.custom_hooks = [dict(type='IterationSeedHook'), *(cfg.get('custom_hooks') or [])]
    cfg.log_level = 'ERROR'
    cfg.work_dir, cfg.load_from = str(work_dir), str(checkpoint)
    cfg.experiment_name = f'plain_{work_dir.parent.name}_{work_dir.name}'
    for split in ('val', 'test'):
        for part in ('dataloader', 'cfg', 'evaluator'):
            cfg[f'{split}_{part}'] = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.model.state_dict()
