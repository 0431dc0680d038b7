"""DecisionSegmentor: predictions by the rule, checkpoints as they are, stock test script and TTA."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

import copy
import os
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint, save_checkpoint
from mmengine.structures import PixelData
from mmseg.apis import MMSegInferencer, inference_model, init_model, show_result_pyplot
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_balance.functional.decision import decide, decide_probs

STOCK_TEST = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'test.py'


@pytest.fixture
def config(tiny_camvid, repository):
    config = Config.fromfile(str(repository / 'configs' / 'fcn_ce_camvid_small.py'))
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(tiny_camvid)
    return config


def built(model):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(model)).eval()
    for name, part in model.named_modules():
        if name.endswith('conv_seg'):
            torch.nn.init.normal_(part.weight, std=20.0)
    return model


def batch_of(config):
    return next(iter(Runner.build_dataloader(copy.deepcopy(config.test_dataloader))))


@pytest.mark.parametrize('decision', ['iou', 'dice', 'argmax'])
def test_predictions_follow_the_rule_and_logits_stay(config, decision):
    model = built(config.model)
    plain = model.test_step(batch_of(config))[0]
    wrapped = built(dict(type='DecisionSegmentor', module=config.model, decision=decision))
    found = wrapped.test_step(batch_of(config))[0]
    assert torch.equal(found.seg_logits.data, plain.seg_logits.data)
    expected = decide(plain.seg_logits.data[None], decision)
    assert torch.equal(found.pred_sem_seg.data, expected)
    assert torch.equal(wrapped.val_step(batch_of(config))[0].pred_sem_seg.data, expected)
    changed = not torch.equal(found.pred_sem_seg.data, plain.pred_sem_seg.data)
    assert changed == (decision != 'argmax')


def test_a_one_channel_head(config):
    config.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.3)
    plain = built(config.model).test_step(batch_of(config))[0].seg_logits.data
    model = built(dict(type='DecisionSegmentor', module=config.model))
    pred = model.test_step(batch_of(config))[0].pred_sem_seg.data
    assert pred.dtype == plain.dtype
    assert torch.equal(pred.long(), decide_probs(torch.stack([1 - plain[0], plain[0]])[None]))


def test_views_are_averaged_before_they_are_decided_on(config):
    model = built(config.model)
    wrapped = built(dict(type='DecisionSegmentor', module=config.model))
    batch = batch_of(config)
    other = copy.deepcopy(batch)
    other['inputs'] = [image.flip(0) for image in other['inputs']]
    probs = [
        model.test_step(copy.deepcopy(view))[0].seg_logits.data.softmax(0)
        for view in (batch, other)
    ]
    views = {key: [batch[key], other[key]] for key in batch}
    found = wrapped.test_step(views)[0]
    expected = decide_probs(((probs[0] + probs[1]) / 2)[None])
    assert torch.equal(found.pred_sem_seg.data, expected)
    assert 'gt_sem_seg' in found


def test_the_checkpoint_of_the_segmentor_loads(config, tmp_path):
    model = built(config.model)
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'model.pth'))
    wrapped = MODELS.build(dict(type='DecisionSegmentor', module=copy.deepcopy(config.model)))
    load_checkpoint(wrapped, str(tmp_path / 'model.pth'), map_location='cpu', strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(wrapped.module.state_dict()[name], value)


@pytest.mark.parametrize('tta', [False, True])
def test_stock_test_script(config, tmp_path, tta):
    model = built(config.model)
    save_checkpoint(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta={})), str(tmp_path / 'm.pth')
    )
    config.custom_imports = dict(imports=['mmseg_balance'], allow_failed_imports=False)
    config.test_evaluator = [dict(type='ImbalanceMetric', per_image=True)]
    if tta:
        config.tta_model = dict(type='DecisionSegmentor', decision='iou')
        config.tta_pipeline = config.test_dataloader.dataset.pipeline
    else:
        config.model = dict(type='DecisionSegmentor', decision='iou', module=config.model)
    config.dump(str(tmp_path / 'config.py'))
    result = subprocess.run(
        [sys.executable, str(STOCK_TEST), str(tmp_path / 'config.py'), str(tmp_path / 'm.pth')]
        + ['--work-dir', str(tmp_path)]
        + ['--tta'] * tta,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert result.returncode == 0, result.stderr
    assert 'mIoU_I' in result.stdout + result.stderr
    assert 'unexpected key' not in result.stdout + result.stderr


def test_mmsegmentation_s_own_inference_decides_by_the_rule(config, tmp_path):
    """init_model gave it an unexpected ``pretrained``; the picture looked for names in its module."""
    meta = dict(dataset_meta=dict(classes=[f'c{i}' for i in range(11)], palette=[[0] * 3] * 11))
    weights = str(tmp_path / 'm.pth')
    save_checkpoint(dict(state_dict=built(config.model).state_dict(), meta=meta), weights)
    image = batch_of(config)['data_samples'][0].img_path
    plain = inference_model(init_model(copy.deepcopy(config), weights, device='cpu'), image)
    config.model = dict(type='DecisionSegmentor', decision='iou', module=config.model)
    model = init_model(config, weights, device='cpu')
    found = inference_model(model, image)
    assert torch.equal(found.pred_sem_seg.data, decide(plain.seg_logits.data[None], 'iou'))
    assert model.dataset_meta == meta['dataset_meta']
    assert show_result_pyplot(model, image, found, show=False).shape == (48, 64, 3)
    config.dump(str(tmp_path / 'config.py'))
    inferencer = MMSegInferencer(str(tmp_path / 'config.py'), weights, device='cpu')
    assert (inferencer(image)['predictions'] == found.pred_sem_seg.data[0].numpy()).all()
    with pytest.raises(ValueError, match=r'belongs to the module: set module\.pretrained'):
        MODELS.build({**config.model, 'pretrained': 'resnet.pth'})


def test_refuses_to_train_and_unknown_rules(config):
    wrapped = built(dict(type='DecisionSegmentor', module=config.model))
    with pytest.raises(RuntimeError, match='is for testing'):
        wrapped.train_step({}, None)
    with pytest.raises(ValueError, match="decision is 'best'; it must be one of argmax, iou, dice"):
        MODELS.build(dict(type='DecisionSegmentor', module=config.model, decision='best'))


def test_the_recipe_builds_and_names_its_command(repository):
    file = repository / 'configs' / 'decisions' / 'deeplabv3_ce_iou_camvid_dev_small.py'
    assert file.read_text().startswith(f'# mmseg-balance test configs/decisions/{file.name} ')
    init_default_scope('mmseg')
    model = MODELS.build(Config.fromfile(str(file)).model)
    assert model.decision == 'iou'
    assert model.module.decode_head.num_classes == 11


def test_the_recipe_scores_an_image(repository):
    """It inherited CalibrationMetric, which refuses predictions that are no argmax."""
    file = repository / 'configs' / 'decisions' / 'deeplabv3_ce_iou_camvid_dev_small.py'
    init_default_scope('mmseg')
    config = Config.fromfile(str(file))
    model = MODELS.build(config.model).eval()
    size = dict(ori_shape=(48, 64), img_shape=(48, 64))
    image = dict(inputs=[torch.zeros(3, 48, 64)], data_samples=[SegDataSample(metainfo=size)])
    label = PixelData(data=torch.arange(48 * 64).view(1, 48, 64) % 11)
    image['data_samples'][0].gt_sem_seg = label
    with torch.no_grad():
        found = [sample.to_dict() for sample in model.test_step(image)]
    for evaluator in (config.val_evaluator, config.test_evaluator):
        metrics = Evaluator(evaluator)
        metrics.dataset_meta = dict(classes=[str(i) for i in range(11)])
        metrics.process(found)
        assert {'mIoU', 'imbalance/mIoU'} <= set(metrics.evaluate(1))
