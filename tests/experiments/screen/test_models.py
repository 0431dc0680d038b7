"""Networks that are not ours: transformers, necks, cascades, auxiliary heads, slide inference."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.models import EncoderDecoder

from mmseg_balance.experiments.results import load_results
from mmseg_balance.experiments.screen import command
from mmseg_balance.experiments.screen.evaluation import predicted
from mmseg_balance.experiments.screen.frozen import FeatureMemo, load_frozen, make_head
from tests.support.tiny_screen import parse, screen_config, workers_in_this_process, write_screen

CE = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)


def segformer() -> dict:
    return {
        'model.backbone': dict(
            _delete_=True,
            type='MixVisionTransformer',
            embed_dims=8,
            num_layers=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
        ),
        'model.decode_head': dict(
            _delete_=True,
            type='SegformerHead',
            in_channels=[8, 8, 8, 8],
            in_index=[0, 1, 2, 3],
            channels=8,
            num_classes=3,
            loss_decode=CE,
        ),
    }


def upernet() -> dict:
    return {
        'model.decode_head': dict(
            _delete_=True,
            type='UPerHead',
            in_channels=[4, 8, 16, 32],
            in_index=[0, 1, 2, 3],
            pool_scales=(1, 2),
            channels=4,
            num_classes=3,
            norm_cfg=dict(type='BN'),
            loss_decode=CE,
        ),
        'model.auxiliary_head': dict(
            type='FCNHead',
            in_channels=16,
            in_index=2,
            channels=4,
            num_convs=1,
            num_classes=3,
            loss_decode=CE,
        ),
    }


@pytest.mark.parametrize('model', [segformer, upernet])
def test_stock_models_are_screened_and_kept(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    workers_in_this_process(monkeypatch)
    config, checkpoint = write_screen(tmp_path, **model())
    out = tmp_path / 'kept.pth'
    arguments = ['--losses', 'soft_dice', '--iters', 2, '--work-dir', tmp_path / 'work']
    assert command.run(parse(config, checkpoint, *arguments, '--keep', 'soft_dice', out)) == 0
    methods = {run['method'] for run in load_results(tmp_path / 'work')['runs']}
    assert methods == {'soft_dice', 'checkpoint'}
    before, after = (
        torch.load(path, weights_only=False)['state_dict'] for path in (checkpoint, out)
    )
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if not name.startswith('decode_head.')} <= same
    assert 'decode_head.conv_seg.weight' not in same


@pytest.mark.parametrize(
    'test_cfg', [dict(mode='whole'), dict(mode='slide', crop_size=(32, 32), stride=(16, 16))]
)
def test_predictions_of_shared_features_are_the_segmentors_own(tmp_path, test_cfg):
    config, checkpoint = write_screen(tmp_path)
    cfg = Config.fromfile(config)
    cfg.model.test_cfg = test_cfg
    segmentor, weights = load_frozen(cfg, str(checkpoint))
    heads = [
        make_head(segmentor, cfg.model.decode_head, start, str(checkpoint)).eval()
        for start in (weights, None)
    ]
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    batch = segmentor.data_preprocessor(next(iter(loader)), False)
    expected = []
    for head in heads:
        segmentor.decode_head = head
        samples = [sample.clone() for sample in batch['data_samples']]
        expected.append(segmentor.predict(batch['inputs'], samples)[0])
    memo = FeatureMemo(segmentor)
    for head, one in zip(heads, expected, strict=True):
        memo.new_head()
        segmentor.decode_head = head
        found = predicted(segmentor, batch)[0]
        assert type(found.seg_logits.data) is torch.Tensor
        assert torch.equal(found.seg_logits.data, one.seg_logits.data)
        assert torch.equal(found.pred_sem_seg.data, one.pred_sem_seg.data)
    assert 'pred_sem_seg' not in batch['data_samples'][0]


def test_mask_classification_is_refused(tmp_path, monkeypatch):
    class MaskHead(torch.nn.Module):
        align_corners, num_classes, out_channels = False, 3, 3

    cfg = screen_config(tmp_path)

    def no_losses(self, config):
        self.decode_head = MaskHead()
        self.align_corners = False

    monkeypatch.setattr(EncoderDecoder, '_init_decode_head', no_losses)
    with pytest.raises(ValueError, match='has no loss_decode'):
        load_frozen(cfg, 'unread.pth')
