"""mmseg-balance calibrate: what it fits, what it writes, that stock tools read it, what it refuses."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

import argparse
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, save_checkpoint
from mmseg.apis import init_model
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS

from mmseg_balance.commands import calibrate
from mmseg_balance.datasets import CamVidDataset
from mmseg_balance.runtime.checkpoints import CheckpointError
from mmseg_balance.recalibration.folding import (
    FoldingError,
    candidate_classifiers,
    check_folding,
    fold,
    folding_error,
    predicted_logits,
)
from mmseg_balance.recalibration.logit_map import LogitMap, prior_bias
from mmseg_balance.recalibration import recalibrate as recalibrate_module
from mmseg_balance.recalibration.recalibrate import _save, recalibrate, summary
from mmseg_balance.recalibration.settings import Settings, check_settings
from mmseg_balance.statistics import ClassStatistics

STOCK_TEST = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'test.py'
TRUE_TEMPERATURE = 3.0
SIZE = (48, 36)


def small_config(repository, **head):
    config = Config.fromfile(str(repository / 'configs' / 'fcn_ce_camvid_small.py'))
    config.model.decode_head.update(head)
    loader = config.val_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    for step in loader.dataset.pipeline:
        if step['type'] == 'Resize':
            step['scale'] = SIZE
    return config


def model_of(config):
    init_default_scope('mmseg')
    torch.manual_seed(1)
    model = MODELS.build(copy.deepcopy(config.model)).eval()
    for name, part in model.named_modules():
        if name.endswith('conv_seg'):
            torch.nn.init.normal_(part.weight, std=25.0)
            torch.nn.init.normal_(part.bias)
    return model


@torch.no_grad()
def write_data(root, model, config, images=10):
    """Noise images whose labels are drawn from the model's softmax at three times the heat."""
    rng = np.random.default_rng(0)
    for kind in ('images', 'labels'):
        (root / kind / 'val').mkdir(parents=True)
    for index in range(images):
        picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), SIZE)
        cv2.imwrite(str(root / 'images' / 'val' / f'a_{index}.jpg'), picture)
        cv2.imwrite(str(root / 'labels' / 'val' / f'a_{index}.png'), picture[..., 0] * 0)
    config.val_dataloader.dataset.data_root = str(root)
    config.test_dataloader = config.val_dataloader
    for index, batch in enumerate(Runner.build_dataloader(copy.deepcopy(config.val_dataloader))):
        logits = predicted_logits(model, batch)[0].seg_logits.data
        probs = (logits / TRUE_TEMPERATURE).softmax(0).flatten(1).T
        labels = torch.multinomial(probs, 1).reshape(logits.shape[1:]).numpy().astype(np.uint8)
        labels[:3] = 255 if config.model.decode_head.get('out_channels') else 11  # no label
        cv2.imwrite(str(root / 'labels' / 'val' / f'a_{index}.png'), labels)


@pytest.fixture(scope='module')
def trained(repository, tmp_path_factory):
    """(config, checkpoint) of an overconfident model."""
    root = tmp_path_factory.mktemp('calibration')
    config = small_config(repository)
    model = model_of(config)
    torch.manual_seed(0)
    write_data(root, model, config)
    path = str(root / 'model.pth')
    meta = dict(dataset_meta=CamVidDataset.METAINFO, epoch=3)
    save_checkpoint(dict(meta=meta, state_dict=model.state_dict(), optimizer=dict(state={})), path)
    return config, path


@pytest.fixture
def probe(trained):
    return first_batch(trained[0])


def first_batch(config):
    init_default_scope('mmseg')
    loader = Runner.build_dataloader(copy.deepcopy(config.val_dataloader))
    return next(iter(loader))


@pytest.fixture(scope='module')
def calibrated(trained, tmp_path_factory):
    config, checkpoint = trained
    out = str(tmp_path_factory.mktemp('out') / 'new.pth')
    return recalibrate(config, checkpoint, out, Settings()), out


def test_finds_the_temperature_and_improves_on_images_not_fitted_on(calibrated):
    report, _ = calibrated
    assert report['temperature'] == pytest.approx(TRUE_TEMPERATURE, rel=0.1)
    assert (report['fitted_images'], report['measured_images']) == (5, 5)
    assert report['written']
    before, after = report['before'], report['after']
    assert after['ECE'] < 0.2 * before['ECE']
    assert after['NLL'] < 0.8 * before['NLL']
    assert after['cal'] > before['cal']
    assert report['changed'] == 0
    assert report['pixels'] == 5 * SIZE[0] * (SIZE[1] - 3)
    for name in ('acc', 'mIoU', 'mRecall'):
        assert after[name] == before[name]


def test_the_model_puts_out_the_scaled_logits(trained, calibrated, probe):
    config, checkpoint = trained
    report, out = calibrated
    old, new = (
        [
            sample.seg_logits.data
            for sample in predicted_logits(
                init_model(copy.deepcopy(config), path, device='cpu'), copy.deepcopy(probe)
            )
        ]
        for path in (checkpoint, out)
    )
    assert (
        folding_error(old, new, LogitMap.of_temperature(report['temperature'], (0.0,) * 11)) < 1e-5
    )
    assert all(torch.equal(a.argmax(0), b.argmax(0)) for a, b in zip(old, new, strict=True))


def test_the_checkpoint_is_plain_weights(trained, calibrated):
    old = torch.load(trained[1])
    new = torch.load(calibrated[1], weights_only=True)
    assert set(new) == {'meta', 'state_dict'}
    assert new['meta']['dataset_meta'] == CamVidDataset.METAINFO
    assert new['meta']['calibration']['temperature'] == calibrated[0]['temperature']
    changed = {
        name
        for name, value in new['state_dict'].items()
        if not torch.equal(value, old['state_dict'][name])
    }
    assert changed == {'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias'}


def test_stock_test_script_reports_what_was_promised(trained, calibrated, tmp_path):
    config = copy.deepcopy(trained[0])
    config.custom_imports = dict(imports=['mmseg_balance'], allow_failed_imports=False)
    config.test_dataloader.dataset.indices = [0, 2, 4, 6, 8]  # the half that was not fitted on
    config.test_evaluator = [
        dict(type='IoUMetric', iou_metrics=['mIoU']),
        dict(type='CalibrationMetric', out_file=str(tmp_path / 'cal.json')),
        dict(type='ImbalanceMetric', out_file=str(tmp_path / 'imb.json')),
    ]
    config.dump(str(tmp_path / 'config.py'))
    result = subprocess.run(
        [
            sys.executable,
            str(STOCK_TEST),
            str(tmp_path / 'config.py'),
            calibrated[1],
            '--work-dir',
            str(tmp_path),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert result.returncode == 0, result.stderr
    assert 'S_rec' in result.stdout + result.stderr
    scores = json.loads((tmp_path / 'cal.json').read_text())['scores']
    scores |= json.loads((tmp_path / 'imb.json').read_text())['scores']
    assert scores['mIoU'] > 0
    shared = calibrated[0]['after'].keys() & scores.keys()
    assert {'ECE', 'NLL', 'acc', 'mIoU', 'mRecall'} <= shared
    assert {name: scores[name] for name in shared} == pytest.approx(
        {name: calibrated[0]['after'][name] for name in shared}, abs=1e-5
    )


def test_a_second_calibration_changes_nothing(trained, calibrated, tmp_path):
    out = tmp_path / 'again.pth'
    report = recalibrate(trained[0], calibrated[1], str(out), Settings())
    assert report['temperature'] == pytest.approx(1, abs=1e-3)
    assert not report['written']
    assert 'NLL changes by' in report['reason']
    assert 'nothing to gain' in summary(report)
    assert not out.exists()


@pytest.fixture
def priors(tmp_path):
    """(path of statistics, shares of the classes)."""
    pixels = [[10 ** (index % 4 + 1) for index in range(11)]]
    path = tmp_path / 'statistics.npz'
    ClassStatistics.from_rows(CamVidDataset.METAINFO['classes'], pixels).save(path)
    return str(path), np.array(pixels[0]) / np.sum(pixels)


def test_priors_that_lose_are_not_written(trained, tmp_path, priors):
    out = tmp_path / 'new.pth'
    report = recalibrate(*trained, str(out), Settings(prior_tau=5.0, statistics=priors[0]))
    np.testing.assert_allclose(report['bias'], -5 * np.log(priors[1]))
    assert report['changed'] > 0
    assert report['judge'] == 'mIoU'
    assert not report['written']
    assert report['after']['mIoU'] < report['before']['mIoU']
    assert not out.exists()


def test_priors_that_gain_are_written(trained, tmp_path, priors):
    # A checkpoint that had the priors added to its logits.
    config, checkpoint = trained
    content = torch.load(checkpoint)
    content['state_dict']['decode_head.conv_seg.bias'] += torch.tensor(3 * np.log(priors[1]))
    old, new = tmp_path / 'old.pth', tmp_path / 'new.pth'
    torch.save(content, old)
    settings = Settings(prior_tau=1.0, temperature=3.0, statistics=priors[0])
    report = recalibrate(config, str(old), str(new), settings)
    assert report['written']
    assert report['after']['mIoU'] > report['before']['mIoU']
    old, new = (torch.load(path)['state_dict']['decode_head.conv_seg.bias'] for path in (old, new))
    np.testing.assert_allclose(new, old / 3 - np.log(priors[1]), rtol=1e-4, atol=1e-4)
    assert report['folding_error'] < 1e-5


def test_binary_head(repository, tmp_path):
    config = small_config(repository, num_classes=2, out_channels=1, threshold=0.3)
    dataset = config.val_dataloader.dataset
    dataset.update(
        type='BaseSegDataset',
        img_suffix='.jpg',
        seg_map_suffix='.png',
        metainfo=dict(classes=('back', 'vessel')),
    )
    model = model_of(config)
    write_data(tmp_path, model, config)
    save_checkpoint(
        dict(meta=dict(dataset_meta=dataset.metainfo), state_dict=model.state_dict()),
        str(tmp_path / 'model.pth'),
    )
    report = recalibrate(config, str(tmp_path / 'model.pth'), str(tmp_path / 'new.pth'), Settings())
    assert report['temperature'] == pytest.approx(TRUE_TEMPERATURE, rel=0.15)
    assert report['after']['NLL'] < report['before']['NLL']
    # sigmoid(z) > .3 is z > logit(.3), so z/T > logit(.3)/T.
    logit = np.log(0.3 / 0.7) / report['temperature']
    assert report['threshold'] == pytest.approx(1 / (1 + np.exp(-logit)))
    assert report['changed'] == 0


def test_the_module_of_a_decision_is_calibrated(trained, tmp_path):
    """Its config was refused, as if the head had no last convolution."""
    config, checkpoint = copy.deepcopy(trained[0]), trained[1]
    config.model = dict(type='DecisionSegmentor', decision='iou', module=config.model)
    report = recalibrate(config, checkpoint, str(tmp_path / 'new.pth'), Settings())
    assert report['written']
    weights = torch.load(tmp_path / 'new.pth', weights_only=True)['state_dict']
    assert MODELS.build(trained[0].model).load_state_dict(weights, strict=False).missing_keys == []


def test_prior_bias_of_a_binary_head():
    assert prior_bias(np.array([0.9, 0.1]), 2.0, 1) == pytest.approx([2 * np.log(9)])
    with pytest.raises(ValueError, match='3 classes and the head 2'):
        prior_bias(np.array([0.5, 0.3, 0.2]), 1.0, 1)


def test_folding_holds_in_slide_mode_and_under_align_corners(repository, probe):
    config = small_config(repository, align_corners=True)
    config.model.test_cfg = dict(mode='slide', crop_size=(24, 24), stride=(16, 16))
    model = model_of(config)
    check_folding(model, probe, model.decode_head.conv_seg)


def test_checking_leaves_the_model_as_it_was(trained, probe):
    model = model_of(trained[0])
    before = copy.deepcopy(model.state_dict())
    check_folding(model, probe, model.decode_head.conv_seg)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


class SquashingHead(FCNHead):
    """Not linear after conv_seg."""

    def forward(self, inputs):
        return super().forward(inputs).tanh()


class AveragingHead(FCNHead):
    """Linear after conv_seg, yet not a multiple of it: something else is added."""

    def forward(self, inputs):
        return super().forward(inputs) + 10 * inputs[-1].mean()


class BareHead(FCNHead):
    """Without conv_seg, like PointHead."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        del self.conv_seg


@pytest.mark.parametrize('head', [SquashingHead, AveragingHead])
def test_heads_that_are_not_linear_are_refused(trained, probe, head):
    model = model_of(trained[0])
    model.decode_head.__class__ = head
    with pytest.raises(FoldingError, match='does not scale the output of EncoderDecoder'):
        check_folding(model, probe, model.decode_head.conv_seg)


def test_heads_without_a_classifier_are_refused(trained):
    model = model_of(trained[0])
    model.decode_head.__class__ = BareHead
    del model.decode_head.conv_seg
    with pytest.raises(
        FoldingError, match='BareHead has no convolution with a bias and one output'
    ):
        candidate_classifiers(model)


def test_the_last_head_of_a_cascade_is_folded():
    conv = torch.nn.Conv2d(3, 2, 1)
    model = torch.nn.Module()
    model.decode_head = torch.nn.ModuleList([torch.nn.Module(), torch.nn.Module()])
    model.decode_head[1].conv_seg = conv
    assert candidate_classifiers(model) == {'decode_head.1.conv_seg': conv}
    inputs = torch.randn(1, 3, 4, 4)
    before = conv(inputs).detach()
    fold(conv, LogitMap((0.5, 3.0), (1.0, -1.0)))
    scale, bias = (torch.tensor(pair)[:, None, None] for pair in ((0.5, 3.0), (1.0, -1.0)))
    torch.testing.assert_close(conv(inputs), before * scale + bias)


def test_says_why_it_cannot_fit(trained, tmp_path):
    config, checkpoint = trained
    content = torch.load(checkpoint)
    for part in ('weight', 'bias'):
        content['state_dict'][f'decode_head.conv_seg.{part}'].neg_()  # the opposite of the labels
    torch.save(content, tmp_path / 'wrong.pth')
    out = tmp_path / 'new.pth'
    with pytest.raises(ValueError, match='say next to nothing about these labels'):
        recalibrate(config, str(tmp_path / 'wrong.pth'), str(out), Settings())
    assert not out.exists()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(temperature=0.0), 'temperature is 0.0; it must be positive'),
        (dict(fit_on='third'), "fit_on is 'third'; it must be one of half, first-half, all"),
        (dict(method='matrix'), "method is 'matrix'; it must be one of temperature, class-temp"),
        (dict(judge_by='F1'), "judge_by is 'F1'; it must be one of NLL, mIoU"),
        (dict(accuracy_drop=1.0), r'accuracy_drop is 1.0; it is a fraction in \[0, 1\)'),
        (dict(method='vector', prior_tau=1.0), "go with the method 'temperature' alone"),
        (dict(groups='blocks:5'), '10 validation images are 2 group'),
        (dict(groups='pairs'), "groups is 'pairs'; give 'images'"),
    ],
)
def test_refuses_settings(trained, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        recalibrate(*trained, str(tmp_path / 'new.pth'), Settings(**settings))


def test_refuses_a_missing_folder_and_a_foreign_checkpoint(trained, tmp_path):
    config, checkpoint = trained
    with pytest.raises(ValueError, match='does not exist; make it first'):
        recalibrate(config, checkpoint, str(tmp_path / 'none' / 'new.pth'), Settings())
    foreign = str(tmp_path / 'foreign.pth')
    save_checkpoint(dict(meta=dict(dataset_meta={}), state_dict={}), foreign)
    with pytest.raises(CheckpointError, match='not a checkpoint of this config'):
        recalibrate(config, foreign, str(tmp_path / 'new.pth'), Settings())


def test_a_checkpoint_of_another_backbone_with_the_same_classifier_is_refused(trained, tmp_path):
    """MMEngine only warns, so untrained features were calibrated."""
    config, checkpoint = trained
    content = torch.load(checkpoint, weights_only=True)
    weights = content['state_dict']
    foreign = {k: v for k, v in weights.items() if not k.startswith('backbone')}
    path = str(tmp_path / 'foreign.pth')
    save_checkpoint(dict(meta=content['meta'], state_dict=foreign), path)
    with pytest.raises(
        CheckpointError, match=r'the model has backbone\..* the checkpoint lacks it'
    ):
        recalibrate(config, path, str(tmp_path / 'new.pth'), Settings())


def test_a_checkpoint_without_meta_is_calibrated(trained, tmp_path):
    """MMSegmentation's init_model ended in a KeyError."""
    config, checkpoint = trained
    weights = torch.load(checkpoint, weights_only=True)['state_dict']
    torch.save(weights, tmp_path / 'weights.pth')
    out = str(tmp_path / 'new.pth')
    report = recalibrate(config, str(tmp_path / 'weights.pth'), out, Settings(temperature=2.0))
    assert report['temperature'] == 2


def test_the_checkpoint_itself_and_a_folder_are_refused_before_anything_is_loaded(
    trained, tmp_path
):
    """The first was overwritten, its optimizer lost; the second was told after the whole work."""
    config, checkpoint = trained
    before = Path(checkpoint).read_bytes()
    for out, message in (
        (checkpoint, 'is the checkpoint itself'),
        (os.path.join(os.path.dirname(checkpoint), '.', 'model.pth'), 'is the checkpoint itself'),
        (str(tmp_path), 'is a folder'),
    ):
        with pytest.raises(ValueError, match=message):
            recalibrate(config, checkpoint, out, Settings())
    assert Path(checkpoint).read_bytes() == before


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_strength_of_the_priors_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match=f'prior_tau is {value}; it must be finite'):
        check_settings(Settings(prior_tau=value), 'old.pth', 'new.pth')


def test_a_config_without_validation_is_told_in_a_sentence(trained, tmp_path):
    config = copy.deepcopy(trained[0])
    config.val_dataloader = None
    with pytest.raises(ValueError, match='the config has no val_dataloader'):
        recalibrate(config, trained[1], str(tmp_path / 'new.pth'), Settings())


def test_a_writing_that_is_broken_off_leaves_what_was_there(tmp_path, monkeypatch):
    out = tmp_path / 'new.pth'
    out.write_bytes(b'before')

    def broken_off(_, file):
        file.write(b'ha')
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, 'save', broken_off)
    report = dict(method='vector', temperature=None, scale=[1.0], bias=[0.0])
    with pytest.raises(KeyboardInterrupt):
        _save(dict(meta={}, state_dict={}), 'conv', torch.nn.Conv2d(1, 1, 1), report, str(out))
    assert out.read_bytes() == b'before'
    assert list(tmp_path.iterdir()) == [out]


def test_a_report_of_another_kind_is_refused_before_anything_is_loaded(tmp_path):
    """It was told after the whole work, in place of what had been found."""
    parser = argparse.ArgumentParser()
    calibrate.add_arguments(parser)
    args = parser.parse_args(['nowhere.py', 'nowhere.pth', '--out=new.pth', '--report=new.txt'])
    with pytest.raises(SystemExit, match='^error: --report new.txt must end in .json'):
        calibrate.run(args)


def test_a_missing_config_is_told_in_a_sentence():
    parser = argparse.ArgumentParser()
    calibrate.add_arguments(parser)
    args = parser.parse_args(['nowhere.py', 'nowhere.pth', '--out', 'new.pth'])
    with pytest.raises(SystemExit, match='error: .*nowhere.py'):
        calibrate.run(args)


@pytest.mark.parametrize('folder', ['new', 'file'])
def test_a_report_is_written_whole_or_its_folder_is_named(folder, tmp_path, monkeypatch, capsys):
    """A folder that cannot be written to was a traceback, after the whole work."""
    monkeypatch.setattr(recalibrate_module, 'recalibrate', lambda *_: dict(written=True))
    monkeypatch.setattr(recalibrate_module, 'summary', lambda report: 'better')
    (tmp_path / 'file').touch()
    (tmp_path / 'config.py').write_text('a = 1')
    out = tmp_path / folder / 'report.json'
    parser = argparse.ArgumentParser()
    calibrate.add_arguments(parser)
    args = [str(tmp_path / 'config.py'), 'old.pth', '--out=new.pth', f'--report={out}']
    if folder == 'file':
        with pytest.raises(SystemExit, match='^error: --report .* cannot be written, .*file: '):
            calibrate.run(parser.parse_args(args))
        assert capsys.readouterr().out == ''
    else:
        calibrate.run(parser.parse_args(args))
        assert json.loads(out.read_text()) == dict(written=True)
        assert 'Saved new.pth' in capsys.readouterr().out
