"""EMAHook copies the model before the first step: nothing of a loss may be a buffer that comes later."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

import pytest
import torch
from mmengine.hooks import EMAHook

from mmseg_balance.losses import RecallLoss
from tests.support.tiny_run import tiny_config, train

LOSSES = [
    dict(type='RecallLoss', momentum=0.9),
    dict(type='LogitAdjustedLoss', statistics='auto'),
    dict(type='LDAMLoss', statistics='auto', scale=1.0),
    dict(
        type='WeightedCrossEntropyLoss',
        class_weight=dict(type='inverse_frequency', statistics='auto'),
    ),
]


@pytest.mark.parametrize('loss', LOSSES, ids=lambda loss: loss['type'])
def test_ema_averages_a_model_whose_loss_learns_of_the_data_late(tmp_path, monkeypatch, loss):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))
    cfg = tiny_config(tmp_path / 'data', tmp_path / 'run', iterations=2)
    cfg.model.decode_head.loss_decode = loss
    runner = train(cfg, hooks=[dict(type='EMAHook'), dict(type='LabelCheckHook')])
    hook = next(hook for hook in runner.hooks if isinstance(hook, EMAHook))
    assert int(hook.ema_model.steps) == 2


def test_the_running_recall_is_in_the_checkpoint():
    loss = RecallLoss(momentum=0.5)
    loss(torch.randn(1, 3, 2, 2), torch.tensor([[[0, 1], [2, 2]]]))
    other = RecallLoss(momentum=0.5)
    assert other.load_state_dict(loss.state_dict(), strict=True).unexpected_keys == []
    assert torch.equal(other.running_recall, loss.running_recall)
    assert list(RecallLoss().state_dict()) == []
