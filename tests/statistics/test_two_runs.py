"""Two runs in one process: each counts its own training set."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

import time

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image

from tests.support.tiny_run import tiny_config

WEIGHTED = dict(
    type='WeightedCrossEntropyLoss', class_weight=dict(type='inverse_frequency', statistics='auto')
)


def build(root, work_dir, hooks):
    cfg = tiny_config(root, work_dir, iterations=1, compile=False)
    cfg.model.decode_head.loss_decode = WEIGHTED
    cfg.custom_hooks = hooks
    cfg.experiment_name = f'{work_dir.name}_{time.time_ns()}'
    init_default_scope('mmseg')
    return Runner.from_cfg(cfg)


@pytest.mark.parametrize('hooks', [[], [dict(type='LabelCheckHook')]], ids=['alone', 'with hook'])
def test_each_run_weighs_by_its_own_training_set(tmp_path, monkeypatch, hooks):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))
    runners = [build(tmp_path / name, tmp_path / f'run_{name}', hooks) for name in 'ab']
    for path in (tmp_path / 'b').rglob('*.png'):  # b has no class but the first
        labels = np.zeros_like(np.asarray(Image.open(path)))
        Image.fromarray(labels).save(path)
    weights = []
    for runner in runners:
        runner.train()
        weights.append(runner.model.decode_head.loss_decode.class_weight.values)
    assert (weights[0] > 0).sum() > 1
    assert (weights[1] > 0).tolist() == [True] + [False] * (len(weights[1]) - 1)


def test_statistics_are_read_beside_a_compiled_step(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))
    cfg = tiny_config(tmp_path / 'data', tmp_path / 'run', iterations=1)
    cfg.model.decode_head.loss_decode = WEIGHTED
    cfg.compile = dict(backend='eager')
    cfg.experiment_name = f'compiled_{time.time_ns()}'
    init_default_scope('mmseg')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1
