"""Bad data and settings end the run before its first iteration, in one sentence."""

from pathlib import Path

import pytest

from mmseg_balance.runtime.input_checks import InputError, check_batch, check_labels, check_settings
from tools.bad_inputs import BAD_INPUTS, CHECKS, CLASSES, BadInput, train


@pytest.mark.parametrize('bad', BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_input_is_named(bad, tmp_path):
    with pytest.raises(SystemExit, match=bad.message):
        train(bad, tmp_path, CHECKS)


def test_good_input_passes(tmp_path):
    assert train(BadInput('nothing', lambda root, cfg: None, ''), tmp_path, CHECKS).iter == 3


def test_a_bad_label_that_was_not_read_before_is_found_in_its_batch(tmp_path):
    bad = next(bad for bad in BAD_INPUTS if bad.name.startswith('label ≥'))
    hooks = [dict(type='LabelCheckHook', num_images=0)]
    with pytest.raises(SystemExit, match=bad.message):
        train(bad, tmp_path, hooks)


def test_class_weights_by_a_rule_are_there_before_the_first_iteration(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))

    def by_rule(root, cfg):
        cfg.model.decode_head.loss_decode = dict(
            type='WeightedCrossEntropyLoss',
            loss_weight=0.0,
            class_weight=dict(type='inverse_frequency', statistics='auto'),
        )
        cfg.train_cfg.max_iters = 0

    runner = train(BadInput('nothing', by_rule, ''), tmp_path, CHECKS)
    weights = runner.model.decode_head.loss_decode.class_weight.values
    assert len(weights) == CLASSES
    assert weights.sum().item() == pytest.approx(CLASSES)


@pytest.mark.parametrize('reported', [False, True])
def test_a_sampler_that_nothing_reports_to_is_mentioned(reported, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))

    def by_performance(root, cfg):
        cfg.train_dataloader.sampler = dict(type='ClassPerformanceSampler')

    hooks = [*CHECKS, dict(type='ClassPerformanceHook')] if reported else CHECKS
    runner = train(BadInput('nothing', by_performance, ''), tmp_path, hooks)
    log = '\n'.join(path.read_text() for path in Path(runner.log_dir).glob('*.log'))
    assert ('ClassPerformanceSampler draws all classes alike' in log) is not reported


def test_negative_labels_and_batches_without_labels():
    import torch

    with pytest.raises(InputError, match='label -1'):
        check_labels(torch.tensor([[0, -1]]), 2, 255, 'a.png')
    check_batch([{}], 2, 255)


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='LMPLoss', class_weight=[1.0, 2.0]),
        dict(type='OHEMCrossEntropyLoss', class_weight=[1.0, 2.0]),
        dict(type='LMPLoss', pixel_loss=dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0])),
    ],
)
def test_class_weights_of_a_loss_inside_a_loss_are_seen(loss):
    """Their length was never looked at: LMPLoss keeps them in the loss that it pools."""
    from types import SimpleNamespace

    from mmseg.registry import MODELS
    from torch import nn

    head = nn.Module()
    head.loss_decode, head.ignore_index, head.num_classes = MODELS.build(loss), 255, 3
    model = nn.Sequential(head)
    dataset = SimpleNamespace(metainfo=dict(classes=('a', 'b', 'c')))
    with pytest.raises(InputError, match=r'class_weight of .* has 2 numbers and the head 3'):
        check_settings(model, dataset, None)
