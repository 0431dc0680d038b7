"""A screened head is the head of a plain training with the frozen backbone, on the same batches."""

import json
import runpy
import sys
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config

from mmseg_balance.experiments.results import load_results
from mmseg_balance.experiments.screen import command
from tests.support.tiny_screen import parse, plain_training, workers_in_this_process, write_screen

FILES = {
    'momentum': "loss_decode = [dict(type='RecallLoss', momentum=0.9)]",
    'performance': """
sampler = dict(type='ClassPerformanceSampler', uniform_ratio=0.5)
custom_hooks = [dict(type='ClassPerformanceHook', momentum=0.9, interval=2, stride=1)]
""",
    'balanced': "batch_sampler = dict(type='BalanceBatchSampler', min_classes=3)",
}


@pytest.fixture
def screened(tmp_path, monkeypatch):
    """A screening of several losses and samplers, and the files of its ingredients."""
    monkeypatch.chdir(tmp_path)
    folders = workers_in_this_process(monkeypatch)
    config, checkpoint = write_screen(tmp_path)
    for name, text in FILES.items():
        (tmp_path / f'{name}.py').write_text(text)

    def screen(*arguments):
        args = parse(config, checkpoint, *arguments, '--iters', 8, '--work-dir', tmp_path / 'work')
        assert command.run(args) == 0
        return tmp_path / 'work', config, checkpoint, folders

    return screen


def head_weights(work_dir, method: str) -> dict:
    return torch.load(work_dir / 'runs' / method / 'seed0' / 'head.pth', weights_only=True)


def assert_same_head(screened: dict, plain: dict) -> None:
    assert screened.keys() == {name for name in plain if name.startswith('decode_head.')}
    for name, value in screened.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-5, atol=1e-6, msg=name)


def test_losses_with_schedule_state_and_statistics(screened, tmp_path):
    losses = ('ce', 'dlnce', 'momentum.py', 'wce')
    work_dir, config, checkpoint, folders = screened('--losses', *losses)
    assert len(folders) == 2, 'the four heads share one process, beside that of the checkpoint'
    before = torch.load(checkpoint, weights_only=True)['state_dict']
    for loss in losses:
        plain = plain_training(config, checkpoint, tmp_path / f'plain_{loss}', loss)
        head = head_weights(work_dir, loss.removesuffix('.py'))
        assert_same_head(head, plain)
        moved = plain['decode_head.conv_seg.weight'] - before['decode_head.conv_seg.weight']
        assert moved.abs().max() > 1e-3
        for name, value in before.items():
            if name.startswith('backbone.'):
                assert torch.equal(value, plain[name]), name


@pytest.mark.parametrize('sampler', ['performance', 'balanced'])
def test_samplers(screened, tmp_path, sampler):
    work_dir, config, checkpoint, folders = screened(
        '--losses', 'ce', 'soft_dice', '--samplers', f'{sampler}.py'
    )
    assert len(folders) == (3 if sampler == 'performance' else 2)
    plain = plain_training(config, checkpoint, tmp_path / 'plain', 'ce', f'{sampler}.py')
    assert_same_head(head_weights(work_dir, f'ce+{sampler}'), plain)


def test_scores_are_those_of_mmsegmentations_own_test(screened, tmp_path, monkeypatch):
    """Its tools/test.py, with the config as it is and the checkpoint that --keep wrote."""
    out = tmp_path / 'kept.pth'
    work_dir, config, _, _ = screened('--losses', 'recall', '--keep', 'recall', out)
    cfg = Config.fromfile(config)
    metrics = [dict(type=f'{name}Metric') for name in ('IoU', 'Imbalance', 'Calibration')]
    cfg.test_evaluator, cfg.custom_imports = metrics, dict(imports=['mmseg_balance'])
    cfg.dump(str(config))
    script = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'test.py'
    tested = tmp_path / 'tested'
    monkeypatch.setattr(
        sys, 'argv', [str(script), str(config), str(out), '--work-dir', str(tested)]
    )
    monkeypatch.setenv('LOCAL_RANK', '0')
    runpy.run_path(str(script), run_name='__main__')
    (log,) = tested.glob('*/*.json')
    found = json.loads(log.read_text())
    (run,) = (
        run
        for run in load_results(work_dir)['runs']
        if run['split'] == 'test' and run['method'] == 'recall'
    )
    for name in ('acc', 'mIoU', 'mRecall'):
        assert found[f'imbalance/{name}'] == pytest.approx(run['scores'][name], abs=1e-12)
    for name in ('cal', 'NLL'):
        assert found[name] == pytest.approx(run['scores'][name], abs=1e-12)
    assert found['mIoU'] == pytest.approx(100 * run['scores']['mIoU'], abs=0.006)
