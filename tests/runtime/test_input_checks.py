"""Bad data and settings end the run before its first iteration, in one sentence."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import mmseg
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from torch import nn

from mmseg_balance.runtime.input_checks import InputError, check_batch, check_labels, check_settings
from tools.bad_inputs import BAD_INPUTS, CHECKS, CLASSES, BadInput, relabel, train


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
    head = nn.Module()
    head.loss_decode, head.ignore_index, head.num_classes = MODELS.build(loss), 255, 3
    model = nn.Sequential(head)
    dataset = SimpleNamespace(metainfo=dict(classes=('a', 'b', 'c')))
    with pytest.raises(InputError, match=r'class_weight of .* has 2 numbers and the head 3'):
        check_settings(model, dataset, None)


def test_the_boundary_head_of_stock_stdc_is_not_compared_with_the_data_set():
    """Its 2 classes were refused beside Cityscapes' 19."""
    stock = Path(mmseg.__file__).parent / '.mim' / 'configs' / '_base_' / 'models' / 'stdc.py'
    init_default_scope('mmseg')
    model = MODELS.build(Config.fromfile(stock).model)
    dataset = SimpleNamespace(metainfo=DATASETS.get('CityscapesDataset').METAINFO)
    check_settings(model, dataset, None)
    model.auxiliary_head[0].num_classes = 2
    with pytest.raises(InputError, match=r'auxiliary_head\.0 has num_classes=2 .* 19 classes'):
        check_settings(model, dataset, None)


@TRANSFORMS.register_module()
class LoadNpy(BaseTransform):
    """Images and labels from .npy files, as a user's own loaders read them."""

    def transform(self, results: dict) -> dict:
        image = np.load(results['img_path'])
        return {**results, 'img': image, 'img_shape': image.shape[:2], 'ori_shape': image.shape[:2]}


@TRANSFORMS.register_module()
class LoadNpyAnnotations(BaseTransform):
    """Labels."""

    def transform(self, results: dict) -> dict:
        fields = [*results['seg_fields'], 'gt_seg_map']
        return {**results, 'gt_seg_map': np.load(results['seg_map_path']), 'seg_fields': fields}


def in_npy(root, cfg):
    for path in [*root.glob('*/*.jpg'), *root.glob('*/*.png')]:
        np.save(path.with_suffix('.npy'), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        path.unlink()
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_dataloader.dataset.update(img_suffix='.npy', seg_map_suffix='.npy')
    steps = [dict(type='LoadNpy'), dict(type='LoadNpyAnnotations'), dict(type='PackSegInputs')]
    cfg.train_dataloader.dataset.pipeline = steps


def test_files_of_other_formats_are_read_with_the_pipelines_own_loaders(tmp_path):
    assert train(BadInput('nothing', in_npy, ''), tmp_path, CHECKS).iter == 3


def in_16_bits(root, cfg):
    path = root / 'labels' / '3.png'
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16)
    labels[0, 0] = 258
    cv2.imwrite(str(path), labels)


def test_a_stored_value_beyond_8_bits_does_not_wrap_into_a_class(tmp_path):
    message = r'labels/3\.png: the stored value 258 .* would be read as 2'
    with pytest.raises(SystemExit, match=message):
        train(BadInput('16 bits', in_16_bits, ''), tmp_path, CHECKS)


def without_classes(root, cfg):
    cfg.train_dataloader.dataset.metainfo = None


def test_a_data_set_without_classes_is_named(tmp_path):
    """Its end was a KeyError: 'classes'."""
    message = r'BaseSegDataset names no classes: set metainfo=dict\(classes=…\)'
    with pytest.raises(SystemExit, match=message):
        train(BadInput('no classes', without_classes, ''), tmp_path, CHECKS)


def test_a_head_without_an_ignored_label_trains_under_every_hook(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))

    def no_ignored_label(root, cfg):
        cfg.model.decode_head.ignore_index = None
        cfg.model.decode_head.loss_decode = dict(type='RecallLoss')
        cfg.train_dataloader.sampler = dict(type='ClassPerformanceSampler')

    hooks = [*CHECKS, dict(type='ClassPerformanceHook', interval=1), dict(type='FusedLossHook')]
    runner = train(BadInput('nothing', no_ignored_label, ''), tmp_path, hooks)
    assert runner.iter == 3
    assert runner.message_hub.get_scalar('train/loss').current() > 0


def without_label_maps(root, cfg):
    cfg.train_dataloader.dataset.data_prefix = dict(img_path='images')


def test_a_data_set_without_label_maps_is_named(tmp_path):
    """Its end was a KeyError: 'seg_map_path'."""
    with pytest.raises(SystemExit, match='jpg has no label map: set data_prefix'):
        train(BadInput('no labels', without_label_maps, ''), tmp_path, CHECKS)


def one_class(root, cfg):
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(classes=['vessel'], palette=[[255] * 3])
    relabel(root, np.zeros_like)
    cfg.model.decode_head.num_classes = 2


def test_a_data_set_of_one_class_is_refused(tmp_path):
    """It ended at the first validation, when CalibrationMetric saw two classes told apart."""
    message = r"BaseSegDataset names one, 'vessel': name what is around it too"
    with pytest.raises(SystemExit, match=message):
        train(BadInput('one class', one_class, ''), tmp_path, CHECKS)


def two_classes(root, cfg):
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(classes=['background', 'vessel'], palette=[[0] * 3] * 2)
    relabel(root, lambda labels: (labels == 1).astype(np.uint8))
    cfg.model.decode_head.num_classes = 2


@pytest.mark.parametrize('background', [0, 255])
def test_a_foreground_outside_the_sample_is_no_0_255_mask(tmp_path, background):
    """A run was refused for the labels of a sample, the others not being looked at."""

    def rare(root, cfg):
        two_classes(root, cfg)
        relabel(root, lambda labels: np.where(labels == 1, 255, background).astype(np.uint8))
        path = str(root / 'labels' / '3.png')
        cv2.imwrite(path, (cv2.imread(path, cv2.IMREAD_UNCHANGED) == 255).astype(np.uint8))

    hooks = [dict(type='LabelCheckHook', num_images=2)]
    assert train(BadInput('nothing', rare, ''), tmp_path, hooks).iter == 3


def ohem_on_one_channel(root, cfg):
    two_classes(root, cfg)
    cfg.model.decode_head.update(
        out_channels=1,
        threshold=0.5,
        sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=10),
        loss_decode=dict(type='WeightedCrossEntropyLoss'),
    )


def test_ohem_by_threshold_on_one_channel_is_refused(tmp_path):
    with pytest.raises(SystemExit, match='one output channel, and OHEMPixelSampler'):
        train(BadInput('ohem', ohem_on_one_channel, ''), tmp_path, CHECKS)
