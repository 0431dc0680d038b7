"""From options and a config to a config that this machine can run."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import CheckpointLoader
from mmengine.utils import mkdir_or_exist
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS
from torch import nn

from mmseg_balance.commands.options import add_run_options
from mmseg_balance.runtime import checkpoints, cpu, launching

CONFIG = """
model = dict(
    backbone=dict(type='ResNetV1c', norm_cfg=dict(type='SyncBN', requires_grad=True)),
    decode_head=[dict(type='A', norm_cfg=dict(type='SyncBN')), dict(type='B', dropout_ratio=0.1)])
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
env_cfg = dict(dist_cfg=dict(backend='nccl'))
test_dataloader = dict(dataset=dict(pipeline=[dict(type='One')]))
test_evaluator = [dict(type='CalibrationMetric'), dict(type='IoUMetric')]
tta_pipeline = [dict(type='Many')]
visualizer = dict(type='SegLocalVisualizer')
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
randomness = dict(seed=1, deterministic=True)
"""


@pytest.fixture
def cfg() -> Config:
    return Config.fromstring(CONFIG, '.py')


@pytest.fixture
def on(monkeypatch):
    """Pretend to be on a device."""
    return lambda device: monkeypatch.setattr(launching, 'get_device', lambda: device)


def parse(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    return parser.parse_args(options)


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / 'model_loss_data.py'
    file.write_text(CONFIG)
    return str(file)


def test_sync_bn_is_plain_bn_on_a_cpu_and_the_log_says_so(cfg, capsys):
    cpu.fit_to_cpu(cfg)
    assert cfg.model.backbone.norm_cfg == dict(type='BN', requires_grad=True)
    assert cfg.model.decode_head[0].norm_cfg.type == 'BN'
    assert '2 norm layer setting(s)' in capsys.readouterr().out


@pytest.mark.parametrize('kind', ['mmengine.SyncBN', 'torch.nn.SyncBatchNorm', nn.SyncBatchNorm])
def test_sync_bn_is_known_however_it_is_written(kind):
    norm_cfg = dict(type=kind)
    assert cpu.replace_sync_bn([norm_cfg]) == 1
    assert norm_cfg['type'] == 'BN'


def test_gloo_takes_the_place_of_nccl_only_where_processes_were_launched(cfg):
    cpu.fit_to_cpu(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'nccl'
    cfg.launcher = 'pytorch'
    cpu.fit_to_cpu(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'


def test_an_accelerator_keeps_sync_bn(path, on):
    on('cuda')
    cfg = launching.load_config(parse(path))
    assert cfg.model.backbone.norm_cfg.type == 'SyncBN'


def test_options_reach_the_config(path, on):
    on('cpu')
    cfg = launching.load_config(
        parse(
            path,
            '--work-dir',
            'here',
            '--seed',
            '7',
            '--cfg-options',
            'model.decode_head.1.dropout_ratio=0',
            'optim_wrapper.optimizer.lr=0.5',
        )
    )
    assert cfg.work_dir == 'here'
    assert cfg.randomness == dict(seed=7, deterministic=True)
    assert cfg.model.decode_head[1].dropout_ratio == 0
    assert cfg.optim_wrapper.optimizer.lr == 0.5


def test_trusting_checkpoints_is_an_option(path, monkeypatch):
    monkeypatch.setenv(checkpoints.TRUST_VARIABLE, '0')
    launching.load_config(parse(path))
    assert not checkpoints.is_trusted()
    launching.load_config(parse(path, '--trust-checkpoint'))
    assert checkpoints.is_trusted()


def test_the_work_dir_is_named_after_the_config(path):
    assert launching.load_config(parse(path)).work_dir == 'work_dirs/model_loss_data'


def test_a_missing_config_is_named():
    with pytest.raises(SystemExit, match='there is no config nowhere.py'):
        launching.load_config(parse('nowhere.py'))


@pytest.mark.parametrize(
    ('device', 'expected'),
    [
        ('cuda', dict(type='AmpOptimWrapper', loss_scale='dynamic')),
        ('cpu', dict(type='BFloat16OptimWrapper')),
    ],
)
def test_mixed_precision_fits_the_device(cfg, on, device, expected):
    on(device)
    launching.use_mixed_precision(cfg)
    cfg.optim_wrapper.pop('optimizer')
    assert cfg.optim_wrapper == expected


def test_mixed_precision_of_the_config_moves_to_a_cpu(cfg, on):
    on('cpu')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale=512.0, dtype='float16')
    launching.use_mixed_precision(cfg)
    assert set(cfg.optim_wrapper) == {'type', 'optimizer'}


def test_mixed_precision_refuses_what_it_does_not_know(cfg):
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(SystemExit, match='ApexOptimWrapper'):
        launching.use_mixed_precision(cfg)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights():
    model = nn.Linear(4, 2)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='BFloat16OptimWrapper', optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    )
    with wrapper.optim_context(model):
        result = model(torch.ones(3, 4))
    assert result.dtype == torch.bfloat16
    before = model.weight.detach().clone()
    wrapper.update_params(result.float().sum())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(before, model.weight)


def test_test_time_augmentation_wraps_the_model(cfg):
    model = cfg.model
    launching.use_test_time_augmentation(cfg)
    assert cfg.model.type == 'SegTTAModel'
    assert cfg.model.module == model
    assert cfg.test_dataloader.dataset.pipeline[0].type == 'Many'


def test_test_time_augmentation_needs_its_pipeline(cfg):
    cfg.pop('tta_pipeline')
    with pytest.raises(SystemExit, match='tta_pipeline'):
        launching.use_test_time_augmentation(cfg)


def test_predictions_are_saved_by_the_evaluator_that_can(cfg):
    """MMSegmentation's own script sets these on a list of evaluators and fails."""
    launching.save_predictions(cfg, 'there')
    assert cfg.test_evaluator[1].output_dir == 'there'
    assert 'output_dir' not in cfg.test_evaluator[0]
    cfg.test_evaluator = [dict(type='CalibrationMetric')]
    with pytest.raises(SystemExit, match='IoUMetric'):
        launching.save_predictions(cfg, 'there')


def test_every_picture_is_painted(cfg):
    launching.draw_predictions(cfg, 'there', show=False, wait_time=0)
    assert cfg.default_hooks.visualization == dict(
        type='SegVisualizationHook', draw=True, interval=1
    )
    assert cfg.visualizer.save_dir == 'there'


def test_painting_needs_its_hook(cfg):
    del cfg.default_hooks['visualization']
    with pytest.raises(SystemExit, match='SegVisualizationHook'):
        launching.draw_predictions(cfg, 'there', show=False, wait_time=0)


LEAVING = """
import atexit, torch
from mmseg_balance.runtime.cpu import leave_processes_on_cpu

class Last:
    def __del__(self):
        print('the interpreter took itself apart')

last = Last()
atexit.register(print, 'handlers ran')
if {group}:
    torch.distributed.init_process_group('gloo', init_method='file://{folder}/rendezvous', rank=0,
                                         world_size=1)
    torch.distributed.barrier()
leave_processes_on_cpu()
print('went on')
"""


@pytest.mark.parametrize('group', [True, False])
def test_threads_of_gloo_do_not_meet_an_interpreter_that_shuts_down(tmp_path, group):
    script = LEAVING.format(group=group, folder=tmp_path)
    result = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == (
        ['handlers ran']
        if group
        else ['went on', 'handlers ran', 'the interpreter took itself apart']
    )


@pytest.mark.parametrize('kind', [OptimWrapper, 'mmengine.OptimWrapper', 'OptimWrapper'])
def test_mixed_precision_knows_a_type_however_it_is_written(cfg, on, kind):
    on('cpu')
    cfg.optim_wrapper.type = kind
    launching.use_mixed_precision(cfg)
    assert cfg.optim_wrapper.type == 'BFloat16OptimWrapper'


@pytest.mark.parametrize('kind', [IoUMetric, 'mmseg.IoUMetric', 'IoUMetric'])
def test_predictions_are_written_by_an_iou_metric_however_it_is_written(cfg, kind):
    cfg.test_evaluator = [dict(type='CalibrationMetric'), dict(type=kind)]
    launching.save_predictions(cfg, 'there')
    assert cfg.test_evaluator[1].output_dir == 'there'


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('iter_8.pth', 'is not a config: a checkpoint comes after the config$'),
        ('data.txt', r'is not a config: a config is one of \.py, \.yml, \.yaml, \.json$'),
        ('child.py', r'child\.py: a file that it inherits is not there: .*none\.py$'),
    ],
)
def test_what_is_no_config_is_named_in_a_sentence(tmp_path, name, said):
    (tmp_path / name).write_text("_base_ = './none.py'\n")
    with pytest.raises(SystemExit, match=said) as end:
        launching.load_config(parse(str(tmp_path / name)))
    assert str(end.value).startswith('error: ')


@pytest.mark.parametrize(
    ('loss', 'said'),
    [
        (
            dict(type='RecalLoss'),
            r'^error: RecalLoss is not in the registry mmseg::model: the name is ',
        ),
        (
            dict(type='RecallLoss', momentun=0.9),
            "^error: RecallLoss has no argument 'momentun'; it has ",
        ),
        (
            dict(type='CrossEntropyLoss', use_sigmoyd=True),
            "unexpected keyword argument 'use_sigmoyd': the config gives it",
        ),
    ],
    ids=['name', 'argument', 'stock'],
)
def test_a_misspelt_loss_ends_in_a_sentence(loss, said):
    with pytest.raises(SystemExit, match=said), launching.errors_in_one_sentence():
        MODELS.build(dict(loss, _scope_='mmseg'))


def test_a_folder_that_cannot_be_written_ends_in_a_sentence():
    with (
        pytest.raises(
            SystemExit, match='^error: /data/run cannot be written or read: Permission denied$'
        ),
        launching.errors_in_one_sentence(),
    ):
        raise PermissionError(13, 'Permission denied', '/data/run')


def test_a_missing_folder_of_the_data_ends_in_a_sentence(tmp_path, monkeypatch):
    """As where the command runs in another folder than the one that data_root is relative to."""
    monkeypatch.chdir(tmp_path)
    said = (
        f'^error: data/mine does not exist .looked from {tmp_path}.; if it is a folder of the data'
    )
    with pytest.raises(SystemExit, match=said), launching.errors_in_one_sentence():
        os.scandir('data/mine')


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--seed', '-1'], '--seed must be 0 to 4294967295, got -1'),
        (['--launcher', 'pytorch'], '--launcher pytorch is for the processes of torchrun'),
    ],
)
def test_an_option_that_no_run_can_have_ends_in_a_sentence(path, monkeypatch, options, said):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(SystemExit, match=f'^error: {said}'):
        launching.load_config(parse(path, *options))


def test_an_empty_config_is_told_to_have_no_model(tmp_path):
    (tmp_path / 'empty.py').touch()
    with pytest.raises(SystemExit, match='^error: .*empty.py has no model: give'):
        launching.load_config(parse(str(tmp_path / 'empty.py')))


@pytest.mark.parametrize('below', ['', 'deep'])
def test_a_file_in_the_place_of_the_work_dir_ends_in_a_sentence(tmp_path, below):
    (tmp_path / 'file').touch()
    with (
        pytest.raises(SystemExit, match='^error: .*file.*: a file stands where a folder is wanted'),
        launching.errors_in_one_sentence(),
    ):
        mkdir_or_exist(str(tmp_path / 'file' / below))


def test_a_missing_checkpoint_of_the_config_ends_in_a_sentence():
    with (
        pytest.raises(SystemExit, match='^error: there is no checkpoint /nope.pth .*load_from'),
        launching.errors_in_one_sentence(),
    ):
        CheckpointLoader.load_checkpoint('/nope.pth')


def test_mixed_precision_of_a_stock_config_is_bfloat16_on_a_cpu(cfg, capsys):
    """Without --amp, AmpOptimWrapper ended in an AssertionError."""
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    cpu.fit_to_cpu(cfg)
    assert set(cfg.optim_wrapper) == {'type', 'optimizer'}
    assert cfg.optim_wrapper.type == 'BFloat16OptimWrapper'
    assert 'bfloat16' in capsys.readouterr().out


def test_what_other_packages_raise_keeps_its_traceback():
    for error in (ValueError('a'), TypeError('b'), KeyError('c'), OSError(5, 'd')):
        with pytest.raises(type(error)), launching.errors_in_one_sentence():
            raise error
