"""Every loss in MMSegmentation's own heads: one training step of stock models made small."""

from pathlib import Path

import mmseg
import pytest
import torch
from mmengine import Config, ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from tests.support.losses import CASES, statistics

CLASSES = 4
MODELS_OF_MMSEG = {
    'FCN': 'fcn_r50-d8',
    'DeepLabV3': 'deeplabv3_r50-d8',
    'DeepLabV3+': 'deeplabv3plus_r50-d8',
    'PSPNet': 'pspnet_r50-d8',
    'UPerNet': 'upernet_r50',
    'SegFormer': 'segformer_mit-b0',
    'OCRNet': 'ocrnet_r50-d8',
    'UNet': 'fcn_unet_s5-d16',
    'BiSeNetV2': 'bisenetv2',
    'PointRend': 'pointrend_r50',
}
SHRINK = 8
WEIGHTS = [0.5, 1.0, 1.5, 2.0]
LOSSES = {
    'compound': [
        dict(type='SoftDiceLoss', class_weight=WEIGHTS),
        dict(type='WeightedCrossEntropyLoss', class_weight=WEIGHTS),
    ],
    'single': dict(type='LMPLoss'),
    'recall': [dict(type='RecallLoss', momentum=0.9), dict(type='LovaszSoftmaxLoss')],
}


def stock_model(file_name):
    folder = Path(mmseg.__file__).parent / '.mim' / 'configs' / '_base_' / 'models'
    return Config.fromfile(folder / f'{file_name}.py').model.to_dict()


def shrunk(value, name=''):
    """A model's config with an eighth of the channels and no pretrained weights or SyncBN."""
    if isinstance(value, dict):
        return {
            k: 'BN' if v == 'SyncBN' else shrunk(v, k)
            for k, v in value.items()
            if k not in ('pretrained', 'init_cfg')
        }
    if isinstance(value, list):
        return [shrunk(v, name) for v in value]
    if (
        name
        in (
            'in_channels',
            'out_channels',
            'c1_in_channels',
            'channels',
            'ocr_channels',
            'c1_channels',
        )
        and value
        and value > 3
    ):
        return max(value // SHRINK, 2)
    return value


def heads_of(config):
    """Configs of all decode and auxiliary heads."""
    found = []
    for key in ('decode_head', 'auxiliary_head'):
        heads = config.get(key) or []
        found += heads if isinstance(heads, list) else [heads]
    return found


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


def build(name, loss, **head_options):
    stock = stock_model(MODELS_OF_MMSEG[name])
    if name in ('SegFormer', 'BiSeNetV2'):  # small enough, and their channels hang together
        config = {k: v for k, v in stock.items() if k != 'pretrained'}
        for head in heads_of(config):
            head['norm_cfg'] = dict(type='BN')
        config['backbone'].pop('init_cfg', None)
        if 'norm_cfg' in config['backbone']:
            config['backbone']['norm_cfg'] = dict(type='BN')
    else:
        config = shrunk(stock)
        config['backbone']['base_channels'] = 64 // SHRINK
    config.pop('data_preprocessor')
    config['test_cfg'] = dict(mode='whole')
    for head in heads_of(config):
        head.update(num_classes=CLASSES, loss_decode=loss, **head_options)
    return MODELS.build(ConfigDict(config))


def training_step(model, classes=CLASSES, size=64):
    torch.manual_seed(0)
    labels = torch.randint(0, classes - 1, (2, size // 8, size // 8))  # the last class is absent
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels[:, :8] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=y[None])) for y in labels]
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(size, size), pad_shape=(size, size)))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))
    losses = model.train().forward(torch.randn(2, 3, size, size), samples, mode='loss')
    total, log = model.parse_losses(losses)
    wrapper.update_params(total)
    return total, log


def assert_trained(model, before, total):
    assert total.isfinite()
    after = dict(model.named_parameters())
    assert all(after[k].isfinite().all() for k in before)
    moved = [k for k, v in before.items() if not torch.equal(v, after[k])]
    assert any('decode_head' in k for k in moved)
    assert any('backbone' in k for k in moved)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('name', MODELS_OF_MMSEG)
def test_one_training_step(name, loss):
    model = build(name, LOSSES[loss])
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    total, log = training_step(model)
    assert_trained(model, before, total)
    for config in LOSSES[loss] if isinstance(LOSSES[loss], list) else [LOSSES[loss]]:
        loss_name = MODELS.build(config).loss_name
        assert sum(key.endswith(loss_name) for key in log) >= len(heads_of_model(model))


def heads_of_model(model):
    found = [model.decode_head] + ([model.auxiliary_head] if model.with_auxiliary_head else [])
    return [h for one in found for h in (one if isinstance(one, torch.nn.ModuleList) else [one])]


@pytest.mark.parametrize('case', [c for c in CASES if c.per_pixel], ids=lambda c: c.name)
def test_every_pixel_loss_with_the_ohem_sampler(case):
    config = dict(case.config)
    if 'statistics' in config:
        config['statistics'] = statistics((60, 30, 9, 1))
    model = build('FCN', config, sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=100))
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    assert_trained(model, before, training_step(model)[0])
    by_loss = build('FCN', config, sampler=dict(type='OHEMPixelSampler', min_kept=100))
    assert training_step(by_loss)[0].isfinite()


def test_state_moves_once_a_step_under_the_ohem_sampler():
    """Ranking by loss asks every loss once more, without gradients; that was a step of its own."""
    losses = [
        dict(type='RecallLoss', momentum=0.9),
        dict(type='SoftmaxSeesawLoss', num_classes=CLASSES),
    ]
    states = []
    for sampler in (None, dict(type='OHEMPixelSampler', min_kept=100)):
        torch.manual_seed(0)
        model = build('FCN', losses, sampler=sampler)
        model.decode_head.loss_decode[0].running_recall = torch.zeros(CLASSES)
        training_step(model)
        states.append(model.decode_head.loss_decode.state_dict())
    torch.testing.assert_close(*states)


def test_region_loss_with_the_ohem_sampler_by_probability_and_by_loss():
    """By probability a pixel weight comes in; by loss values per pixel are asked for."""
    loss = dict(type='SoftDiceLoss')
    weighed = build('FCN', loss, sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=100))
    assert training_step(weighed)[0].isfinite()
    ranked = build('FCN', loss, sampler=dict(type='OHEMPixelSampler', min_kept=100))
    with pytest.raises(ValueError, match='SoftDiceLoss has no value per pixel'):
        training_step(ranked)


@pytest.mark.parametrize(
    'case', [c for c in CASES if 'statistics' not in c.config], ids=lambda c: c.name
)
def test_every_loss_on_a_one_channel_head(case):
    stock = stock_model('fcn_r50-d8')
    config = shrunk(stock)
    config['backbone']['base_channels'] = 64 // SHRINK
    config.pop('data_preprocessor')
    for head in heads_of(config):
        head.update(num_classes=2, out_channels=1, threshold=0.3, loss_decode=dict(case.config))
    model = MODELS.build(config)
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    total, _ = training_step(model, classes=3)
    assert_trained(model, before, total)
