"""Which heads' logits can be changed in one convolution, found by trying each."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_balance.recalibration.folding import (
    FoldingError,
    candidate_classifiers,
    check_folding,
    find_foldable,
)

CHANNELS = [8, 12, 16, 24]
NORM = dict(type='BN')
COMMON = dict(num_classes=5, channels=8, norm_cfg=NORM, align_corners=False, dropout_ratio=0.1)
PYRAMID = dict(in_channels=CHANNELS, in_index=[0, 1, 2, 3], **COMMON)
LAST = dict(in_channels=CHANNELS[3], in_index=3, **COMMON)
FCN = dict(type='FCNHead', num_convs=1, **LAST)
HEADS = {
    'SegformerHead': dict(type='SegformerHead', **PYRAMID),
    'UPerHead': dict(type='UPerHead', pool_scales=(1, 2), **PYRAMID),
    'PSPHead': dict(type='PSPHead', pool_scales=(1, 2), **LAST),
    'FPNHead': dict(
        type='FPNHead', feature_strides=[4, 8, 16, 32], **{**PYRAMID, 'in_channels': [8] * 4}
    ),
    'DAHead': dict(type='DAHead', pam_channels=4, **LAST),
    'SETRUPHead': dict(type='SETRUPHead', num_convs=1, up_scale=2, kernel_size=3, **LAST),
    'FCNHead': FCN,
}


class Features(torch.nn.Module):
    """A backbone of four convolutions of random weights."""

    def __init__(self, channels):
        super().__init__()
        strides = (4, 2, 2, 2)
        self.stages = torch.nn.ModuleList(
            torch.nn.Conv2d(before, after, 3, stride, 1)
            for before, after, stride in zip([3, *channels[:-1]], channels, strides, strict=True)
        )

    def forward(self, x):
        found = []
        for stage in self.stages:
            x = stage(x).relu()
            found.append(x)
        return tuple(found)


def model_of(head, **options):
    """A segmentor in evaluation mode whose normalisations have statistics and whose logits vary."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    same = isinstance(head, dict) and head['type'] == 'FPNHead'
    model = MODELS.build(
        dict(
            type='EncoderDecoder' if isinstance(head, dict) else 'CascadeEncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3),
            backbone=dict(type='ResNet', depth=18),
            decode_head=head,
            test_cfg=ConfigDict(mode='whole', **options),
            **({} if isinstance(head, dict) else dict(num_stages=len(head))),
        )
    )
    model.backbone = Features([8] * 4 if same else CHANNELS)
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.normal_(part.weight, std=0.3)
    return model.eval()


def batch():
    sample = SegDataSample(
        metainfo=dict(ori_shape=(64, 64), img_shape=(64, 64), pad_shape=(64, 64))
    )
    return dict(inputs=[torch.randn(3, 64, 64)], data_samples=[sample])


@pytest.mark.parametrize('name', HEADS)
def test_linear_heads_are_folded(name):
    found, classifier = find_foldable(model_of(HEADS[name]), batch())
    assert classifier.out_channels == 5
    assert found.startswith('decode_head.')


def test_the_last_head_of_ocr_is_folded():
    ocr = dict(type='OCRHead', ocr_channels=8, **LAST)
    name, _ = find_foldable(model_of([FCN, ocr]), batch())
    assert name == 'decode_head.1.conv_seg'


def test_point_rend_is_refused_and_what_was_tried_is_named():
    """Its coarse head's logits are inputs of the point head, whose own are of another kind."""
    point = dict(
        type='PointHead',
        in_channels=[CHANNELS[0]],
        in_index=[0],
        channels=8,
        num_classes=5,
        num_fcs=1,
        dropout_ratio=-1,
        align_corners=False,
    )
    options = dict(subdivision_steps=1, subdivision_num_points=64, scale_factor=2)
    model = model_of([FCN, point], **options)
    assert list(candidate_classifiers(model)) == ['decode_head.0.conv_seg']
    with pytest.raises(
        FoldingError, match=r'something after it is not linear.*Tried: decode_head.0'
    ):
        find_foldable(model, batch())


def test_a_classifier_of_another_name_is_found():
    """A head that moved its classifier, as heads outside of MMSegmentation do."""
    model = model_of(FCN)
    head = model.decode_head
    head.my_classifier, head.cls_seg = head.conv_seg, lambda feat: head.my_classifier(feat)
    del head.conv_seg
    name, classifier = find_foldable(model, batch())
    assert name == 'decode_head.my_classifier'
    check_folding(model, batch(), classifier)
