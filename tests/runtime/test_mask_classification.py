"""C + 1 class weights of MaskFormer's and Mask2Former's heads, and a training step of one."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

from types import SimpleNamespace

import numpy as np
from importlib.util import find_spec

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmseg_balance.datasets import CamVidDataset
from mmseg_balance.hooks import LabelCheckHook, MaskClassWeightHook
from mmseg_balance.runtime.input_checks import InputError, check_settings
from mmseg_balance.runtime.mask_classification import (
    mask_class_weights,
    mask_heads,
    set_mask_class_weights,
)
from mmseg_balance.statistics import ClassStatistics
from mmseg_balance.functional.class_weights import class_weights

CLASSES = CamVidDataset.METAINFO['classes']
RULE = dict(type='inverse_frequency', statistics='auto', unit='images', no_object=0.1)


class MaskHead(torch.nn.Module):
    """What is looked at in MMDetection's heads, without MMDetection."""

    def __init__(self, class_weight, num_classes=11):
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, 255
        self.cls_embed = torch.nn.Linear(2, num_classes + 1)
        self.loss_cls = torch.nn.Module()
        self.loss_cls.class_weight = self.class_weight = class_weight


def model_with(*arguments):
    model = torch.nn.Module()
    model.decode_head = MaskHead(*arguments)
    return model


@pytest.fixture
def statistics(tmp_path):
    """(path, images per class): class 3 is in no image."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 100, (20, 11)) * (rng.random((20, 11)) < np.linspace(0.9, 0.2, 11))
    pixels[:, 3] = 0
    path = str(tmp_path / 'statistics.npz')
    ClassStatistics.from_rows(CLASSES, pixels).save(path)
    return path, (pixels > 0).sum(0)


def test_inverse_frequency_of_images_by_the_formula(statistics):
    path, images = statistics
    found = np.array(mask_class_weights(ClassStatistics.load(path), 'inverse_frequency'))
    present = images > 0
    inverse = np.where(present, 1 / np.maximum(images, 1), 0)
    np.testing.assert_allclose(found[:-1], inverse / inverse[present].mean())
    assert found[-1] == 0.1
    assert found[3] == 0


@pytest.mark.parametrize(
    'rule', ['inverse_frequency', 'median_frequency', 'effective_number', 'enet']
)
def test_every_rule_has_a_mean_of_one_and_favours_the_rare(statistics, rule):
    path, images = statistics
    weights = np.array(mask_class_weights(ClassStatistics.load(path), rule)[:-1])
    assert weights[images > 0].mean() == pytest.approx(1)
    rarest, commonest = np.argmin(np.where(images > 0, images, 99)), np.argmax(images)
    assert weights[rarest] > weights[commonest]


def test_pixels_are_the_rule_as_it_is(statistics):
    counts = ClassStatistics.load(statistics[0])
    found = np.array(mask_class_weights(counts, 'inverse_frequency', unit='pixels')[:-1])
    plain = class_weights('inverse_frequency', counts)
    np.testing.assert_allclose(found, plain / plain[counts.images > 0].mean())


def test_rules_become_numbers_in_the_loss_and_in_the_head(statistics):
    model = model_with({**RULE, 'statistics': statistics[0], 'no_object': 0.2})
    set_mask_class_weights(model, None)
    head = model.decode_head
    assert head.class_weight == head.loss_cls.class_weight
    assert len(head.class_weight) == 12
    assert head.class_weight[-1] == 0.2
    before = list(head.class_weight)
    set_mask_class_weights(model, None)  # as two hooks do
    assert head.class_weight == before


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        ([1.0] * 11, r'has 11 numbers and the head 11 classes and "no object", 12 together'),
        (None, 'class_weight of loss_cls in decode_head is None: give C \\+ 1 numbers'),
        (dict(type='enet'), "without 'type' or 'statistics'"),
    ],
)
def test_refuses_what_would_crash(weights, message):
    with pytest.raises(ValueError, match=message):
        set_mask_class_weights(model_with(weights), None)


@pytest.mark.parametrize(
    ('options', 'message'),
    [(dict(unit='segments'), "unit is 'segments'"), (dict(no_object=0), 'no_object is 0')],
)
def test_refuses_options(statistics, options, message):
    with pytest.raises(ValueError, match=message):
        mask_class_weights(ClassStatistics.load(statistics[0]), 'enet', **options)


def test_a_head_of_other_classes_than_the_data_set_is_found():
    dataset = SimpleNamespace(metainfo=dict(classes=CLASSES))
    with pytest.raises(InputError, match='decode_head has num_classes=5 and the data set'):
        check_settings(model_with([1.0] * 6, 5), dataset, None)


def test_the_hook_refuses_a_model_without_such_a_head():
    with pytest.raises(ValueError, match='no head of this model classifies masks'):
        MaskClassWeightHook().before_train(SimpleNamespace(model=torch.nn.Module()))


STOCK = {
    'maskformer': 'mmseg::maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py',
    'mask2former': 'mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py',
}


def shrink(node, **sizes):
    """Set keys of these names wherever they are below ``node``."""
    if isinstance(node, dict):
        node.update({key: value for key, value in sizes.items() if key in node})
        for child in node.values():
            shrink(child, **sizes)


def small(kind, root, work_dir, repository):
    """MaskFormer or Mask2Former with ResNet-18, small, on a tiny CamVid; two iterations."""
    config = Config.fromfile(str(repository / 'configs' / 'fcn_ce_camvid_small.py'))
    stock = get_config(STOCK[kind])
    head = stock.model.decode_head
    shrink(head, embed_dims=32, feat_channels=32, out_channels=32, feedforward_channels=64)
    shrink(head, num_feats=16, num_layers=2, num_queries=12, num_points=16, num_groups=8)
    if kind == 'mask2former':
        head.pixel_decoder.encoder.layer_cfg.self_attn_cfg.num_points = 2
    head.update(in_channels=[64, 128, 256, 512], num_classes=11)
    head.loss_cls.class_weight = RULE
    config.model = stock.model
    config.model.data_preprocessor.size = (32, 32)
    norm = dict(type='BN')
    config.model.backbone.update(depth=18, norm_cfg=norm, init_cfg=None, frozen_stages=-1)
    config.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=2)
    config.train_dataloader.dataset.data_root = str(root)
    config.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
    config.param_scheduler = []
    config.train_cfg.update(max_iters=2, val_interval=100)
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.test_cfg = config.test_dataloader = config.test_evaluator = None
    config.work_dir = str(work_dir)
    return config


# In an environment of its own, since mmdet pins versions: tools/check_stack.sh maskformer.
needs_mmdet = pytest.mark.skipif(find_spec('mmdet') is None, reason='mmdet is not installed')


@needs_mmdet
@pytest.mark.parametrize('hook', ['LabelCheckHook', 'MaskClassWeightHook'])
@pytest.mark.parametrize('kind', STOCK)
def test_mask_classification_trains_with_a_rule(
    tiny_camvid, tmp_path, repository, monkeypatch, kind, hook
):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))
    init_default_scope('mmseg')
    config = small(kind, tiny_camvid, tmp_path, repository)
    config.custom_hooks = [dict(type=hook)]
    runner = Runner.from_cfg(config)
    ((name, head),) = mask_heads(runner.model)
    before = head.cls_embed.weight.detach().clone()
    runner.train()
    assert name == 'decode_head'
    assert len(head.class_weight) == 12
    assert head.loss_cls.class_weight == head.class_weight
    assert torch.isfinite(head.cls_embed.weight).all()
    assert not torch.equal(head.cls_embed.weight, before)


@needs_mmdet
@pytest.mark.parametrize('kind', STOCK)
def test_mask_classification_names_a_label_that_is_out_of_range(
    tiny_camvid, tmp_path, repository, kind
):
    init_default_scope('mmseg')
    config = small(kind, tiny_camvid, tmp_path, repository)
    config.model.decode_head.update(num_classes=5)
    config.model.decode_head.loss_cls.class_weight = [1.0] * 5 + [0.1]
    runner = Runner.from_cfg(config)
    runner.register_hook(LabelCheckHook(num_images=0))
    with pytest.raises(InputError, match='num_classes=5'):
        runner.train()
