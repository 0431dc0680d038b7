"""FusedLossHook: the same losses and gradients from logits that are never enlarged."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.registry import HOOKS, MODELS
from mmseg.structures import SegDataSample

from mmseg_balance.functional.logits import UpsampledLogits
from mmseg_balance.functional.primitives import upsampled
from mmseg_balance.hooks.loss_schedule import LossScheduleHook

CLASSES = 6
BACKBONE = dict(
    type='ResNetV1c',
    depth=18,
    base_channels=4,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    dilations=(1, 1, 2, 4),
    strides=(1, 2, 1, 1),
    norm_cfg=dict(type='BN'),
    contract_dilation=True,
    stem_channels=4,
)
COMMON = dict(num_classes=CLASSES, channels=4, norm_cfg=dict(type='BN'), dropout_ratio=0.0)
FCN = dict(type='FCNHead', in_channels=32, in_index=3, num_convs=1, concat_input=False, **COMMON)
DEEPLAB = dict(
    type='DepthwiseSeparableASPPHead',
    in_channels=32,
    in_index=3,
    dilations=(1, 2),
    c1_in_channels=4,
    c1_channels=4,
    **COMMON,
)
ASPP = dict(type='ASPPHead', in_channels=32, in_index=3, dilations=(1, 2), **COMMON)
OCR = dict(type='OCRHead', in_channels=32, in_index=3, ocr_channels=4, **COMMON)
CE = dict(type='WeightedCrossEntropyLoss', class_weight=[1.0, 2.0, 1.0, 0.5, 3.0, 1.0])
LOSSES = [
    CE,
    dict(type='SoftDiceLoss', loss_weight=0.3),
    dict(type='LMPLoss', p=1.7),
    dict(type='RecallLoss', loss_name='loss_lmp'),
]  # two losses of one name


def segmentor(kind, losses, align_corners=False, **options):
    """A tiny stock model whose main head has these losses."""
    head = dict(loss_decode=losses, align_corners=align_corners, **options)
    if kind == 'OCR':
        config = dict(
            type='CascadeEncoderDecoder',
            num_stages=2,
            decode_head=[dict(FCN, **head), dict(OCR, **head)],
        )
    else:
        main = {'FCN': FCN, 'DeepLabV3': ASPP, 'DeepLabV3+': DEEPLAB}[kind]
        config = dict(
            type='EncoderDecoder',
            decode_head=dict(main, **head),
            auxiliary_head=dict(FCN, loss_decode=dict(CE, loss_weight=0.4)),
        )
    return MODELS.build(dict(config, backbone=BACKBONE, train_cfg={}, test_cfg=dict(mode='whole')))


def batch():
    labels = torch.randint(CLASSES, (2, 40, 48))
    labels[:, :5] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    return torch.randn(2, 3, 40, 48), samples


def losses_and_gradients(model, images, samples):
    model = deepcopy(model).train()
    losses = model.loss(images, samples)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients


@pytest.fixture
def hook():
    return HOOKS.build(dict(type='FusedLossHook'))


def fuse(hook, model):
    hook.before_train(SimpleNamespace(model=model))


def test_a_second_training_after_one_that_broke_off(hook):
    """It reported that it leaves the heads alone, which it had fused itself."""
    model = segmentor('FCN', LOSSES)
    fuse(hook, model)
    fused = list(hook.fused_heads)
    fuse(hook, model)
    assert hook.fused_heads == fused
    hook.after_train(None)
    assert not any('loss_by_feat' in vars(head) for head in fused)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('kind', ['FCN', 'DeepLabV3', 'DeepLabV3+', 'OCR'])
def test_the_same_losses_and_gradients(hook, kind, align_corners):
    model = segmentor(kind, LOSSES, align_corners)
    data = batch()
    expected, expected_gradients = losses_and_gradients(model, *data)
    fuse(hook, model)
    assert len(hook.fused_heads) == 2
    found, gradients = losses_and_gradients(model, *data)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    for name, value in expected_gradients.items():
        torch.testing.assert_close(gradients[name], value, rtol=1e-3, atol=2e-5, msg=name)


def test_a_region_and_a_pixel_loss_share_their_softmax(hook, monkeypatch):
    calls = []
    original = upsampled.OverlapSums.forward
    monkeypatch.setattr(
        upsampled.OverlapSums,
        'forward',
        staticmethod(lambda ctx, *args: calls.append(args[5]) or original(ctx, *args)),
    )
    model = segmentor('FCN', [CE, dict(type='SoftDiceLoss')])
    fuse(hook, model)
    losses_and_gradients(model, *batch())
    assert calls == [True]  # with the pixel losses, which the auxiliary head makes on its own


def test_logits_are_not_enlarged(hook, monkeypatch):
    def full(self):
        raise AssertionError('the logits were enlarged')

    model = segmentor('FCN', LOSSES)
    fuse(hook, model)
    monkeypatch.setattr(UpsampledLogits, 'full', property(full))
    losses_and_gradients(model, *batch())


@pytest.mark.parametrize(
    'losses',
    [
        [dict(type='CrossEntropyLoss'), dict(type='SoftDiceLoss')],
        dict(type='WeightedCrossEntropyLoss', label_smoothing=0.1),
        dict(type='LovaszSoftmaxLoss'),
        dict(type='LMPLoss', pixel_loss=dict(type='WeightedCrossEntropyLoss', label_smoothing=0.1)),
    ],
)
def test_losses_that_need_enlarged_logits_get_them(hook, losses):
    model = segmentor('FCN', losses)
    data = batch()
    expected, _ = losses_and_gradients(model, *data)
    fuse(hook, model)
    found, _ = losses_and_gradients(model, *data)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)


def test_a_loss_that_a_schedule_has_switched_off(hook):
    model = segmentor('FCN', [CE, dict(type='SoftDiceLoss')])
    schedule = LossScheduleHook({'loss_soft_dice': dict(type='constant', value=0)})
    schedule.before_train(
        runner := SimpleNamespace(
            model=model, iter=0, max_iters=10, hooks=[schedule], message_hub=MessageHub('test')
        )
    )
    schedule.before_train_iter(runner, 0)
    data = batch()
    expected, _ = losses_and_gradients(model, *data)
    fuse(hook, model)
    found, _ = losses_and_gradients(model, *data)
    assert found['decode.loss_soft_dice'] == 0
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)


def test_pixel_sampler(hook):
    model = segmentor('FCN', CE, sampler=dict(type='OHEMPixelSampler', min_kept=500))
    data = batch()
    expected, _ = losses_and_gradients(model, *data)
    fuse(hook, model)
    found, _ = losses_and_gradients(model, *data)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_one_channel(hook):
    model = segmentor(
        'FCN',
        [dict(type='WeightedCrossEntropyLoss'), dict(type='SoftDiceLoss')],
        out_channels=1,
        threshold=0.5,
    )
    model.decode_head.num_classes = 2
    images, samples = batch()
    for sample in samples:
        data = sample.gt_sem_seg.data
        sample.gt_sem_seg.data = torch.where(data == 255, 255, data % 2)
    expected, _ = losses_and_gradients(model, images, samples)
    fuse(hook, model)
    found, _ = losses_and_gradients(model, images, samples)
    for name in ('decode.loss_weighted_cross_entropy', 'decode.loss_soft_dice'):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_all_ignored(hook):
    model = segmentor('FCN', LOSSES)
    fuse(hook, model)
    images, samples = batch()
    for sample in samples:
        sample.gt_sem_seg.data.fill_(255)
    found, _ = losses_and_gradients(model, images, samples)
    assert all(value.isfinite().all() for value in found.values())
    assert found['decode.acc_seg'] == 0


def test_heads_of_their_own_are_left_alone(hook):
    point = dict(
        type='PointHead',
        in_channels=[32],
        in_index=[3],
        channels=4,
        num_fcs=1,
        num_classes=CLASSES,
        coarse_pred_each_layer=True,
        loss_decode=dict(type='CrossEntropyLoss'),
    )
    model = MODELS.build(
        dict(
            type='CascadeEncoderDecoder',
            num_stages=2,
            backbone=BACKBONE,
            decode_head=[dict(FCN, loss_decode=CE), point],
            train_cfg={},
            test_cfg=dict(mode='whole'),
        )
    )
    fuse(hook, model)
    assert [type(head).__name__ for head in hook.fused_heads] == ['FCNHead']


def test_heads_are_restored(hook):
    model = segmentor('FCN', LOSSES)
    before = [dict(vars(head)) for head in (model.decode_head, model.auxiliary_head)]
    fuse(hook, model)
    assert 'loss_by_feat' in vars(model.decode_head)
    hook.after_train(SimpleNamespace(model=model))
    after = [dict(vars(head)) for head in (model.decode_head, model.auxiliary_head)]
    assert [d.keys() for d in after] == [d.keys() for d in before]
    assert not hook.fused_heads


def test_a_term_that_differs_between_pixels_is_refused():
    logits = UpsampledLogits(torch.zeros(1, 2, 2, 2), (4, 4), False)
    with pytest.raises(ValueError, match='differs between pixels'):
        logits + torch.zeros(1, 2, 4, 4)
