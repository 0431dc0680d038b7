"""Configs of a user's own, anywhere: text configs on our bases, and MMEngine's pure Python ones."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.registry import HOOKS, init_default_scope
from mmseg.registry import DATA_SAMPLERS, MODELS

from mmseg_balance import hooks, losses, samplers
from mmseg_balance.doctor import examine_config
from mmseg_balance.doctor.fixes import fixed_config
from mmseg_balance.experiments.merging import add_measures, merge_run, prepare_base
from mmseg_balance.experiments.plan import Ingredient, Run
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen.plan import KEPT_HOOKS, learns_what_to_show
from mmseg_balance.runtime.config_files import ConfigError, read_config, type_name
from mmseg_balance.statistics import ClassStatistics
from mmseg_balance.visualization.schedule import schedules_of


def test_our_configs_are_bases_from_any_folder(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        "_base_ = ['mmseg_balance::_base_/losses/soft_dice.py',\n"
        "          'mmseg::_base_/models/fcn_unet_s5-d16.py']\n"
        'model = dict(decode_head=dict(loss_decode=_base_.loss_decode))\n'
    )
    config = Config.fromfile(path)
    assert config.model.decode_head.loss_decode[-1].type == 'SoftDiceLoss'


def test_types_of_our_bases_are_found_in_our_registries_and_theirs(tmp_path):
    """MMEngine adds a scope to what comes from a base with a package's name."""
    path = tmp_path / 'mine.py'
    path.write_text(
        "_base_ = ['mmseg_balance::_base_/run_hooks.py', 'mmseg_balance::_base_/losses/lmp.py',\n"
        "          'mmseg_balance::_base_/default_runtime.py']\n"
        'loss = _base_.loss_decode[0]\n'
    )
    config = Config.fromfile(path)
    assert config.loss._scope_ == 'mmseg_balance'
    init_default_scope('mmseg')
    assert isinstance(MODELS.build(config.loss), losses.LMPLoss)
    for hook in config.run_hooks.values():
        assert HOOKS.build(hook) is not None


def test_a_base_that_is_not_there_is_named(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = ['mmseg_balance::_base_/losses/no_such.py']")
    with pytest.raises(FileNotFoundError, match=r'\.mim/configs/_base_/losses/no_such\.py'):
        Config.fromfile(path)


PURE_PYTHON = """
from mmseg.models import FCNHead
from mmseg_balance.hooks import FiniteLossHook
from mmseg_balance.losses import LMPLoss
from mmseg_balance.samplers import BalanceBatchSampler

head = dict(type=FCNHead, in_channels=4, channels=4, num_classes=3,
            loss_decode=[dict(type=LMPLoss, p=1.3, ratio=0.25)])
hook = dict(type=FiniteLossHook)
sampler = dict(type=BalanceBatchSampler, batch_size=2, min_classes=2)
"""


@pytest.fixture
def pure_python(tmp_path: Path) -> Config:
    path = tmp_path / 'mine.py'
    path.write_text(PURE_PYTHON)
    init_default_scope('mmseg')
    return Config.fromfile(path)


def test_losses_of_a_pure_python_config(pure_python):
    head = MODELS.build(pure_python.head)
    assert isinstance(head.loss_decode[0], losses.LMPLoss)


def test_hooks_of_a_pure_python_config(pure_python):
    assert isinstance(HOOKS.build(pure_python.hook), hooks.FiniteLossHook)


def test_samplers_of_a_pure_python_config(pure_python):
    statistics = ClassStatistics.from_rows('abc', [[4, 4, 0], [0, 4, 4], [4, 0, 4]])
    images = InfiniteSampler([0, 1, 2], seed=0)
    images.dataset = None
    options = dict(sampler=images, statistics=statistics)
    sampler = DATA_SAMPLERS.build(pure_python.sampler, default_args=options)
    assert isinstance(sampler, samplers.BalanceBatchSampler)


COMPLETE = """
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import IterBasedTrainLoop
from mmseg.evaluation import IoUMetric
from mmseg.models import EncoderDecoder, FCNHead, ResNetV1c
from mmseg_balance.hooks import ClassPerformanceHook, LossScheduleHook
from mmseg_balance.losses import LMPLoss
from mmseg_balance.metrics import CalibrationMetric
from torch.nn import BatchNorm2d

norm_cfg = dict(type=BatchNorm2d)
model = dict(
    type=EncoderDecoder,
    backbone=dict(type=ResNetV1c, depth=18, norm_cfg=norm_cfg),
    decode_head=dict(type=FCNHead, in_channels=512, channels=4, num_classes=3, norm_cfg=norm_cfg,
                     loss_decode=[dict(type=LMPLoss)]))
train_dataloader = dict(batch_size=2, sampler=dict(type=InfiniteSampler))
train_cfg = dict(type=IterBasedTrainLoop, max_iters=8)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
test_evaluator = [dict(type=IoUMetric), dict(type=CalibrationMetric, num_bins=20)]
custom_hooks = [dict(type=LossScheduleHook, schedules=dict(loss_lmp=dict(
                    type='linear', start=0, end=1, initial=1, final=0))),
                dict(type=ClassPerformanceHook)]
"""


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    init_default_scope('mmseg')
    path = tmp_path / 'mine.py'
    path.write_text(COMPLETE)
    return path


def test_a_pure_python_config_is_read_with_the_names_of_its_types(complete):
    config = read_config(complete)
    assert config.model.type == 'mmseg.models.EncoderDecoder'
    assert 'EncoderDecoder' not in config
    assert isinstance(MODELS.build(config.model.decode_head).loss_decode[0], losses.LMPLoss)


def test_runs_of_a_pure_python_config_are_written_and_read_again(complete, tmp_path):
    """``compare`` could not write the config of a run: its metrics were classes."""
    loss = tmp_path / 'own.py'
    loss.write_text("loss_decode = [dict(type='RecallLoss')]")
    config = merge_run(
        prepare_base(complete), Run(Ingredient('own', loss), Ingredient('config', None), 0)
    )
    add_measures(config, RunFolder(tmp_path / 'run'), [])
    config.dump(tmp_path / 'merged.py')
    again = Config.fromfile(tmp_path / 'merged.py')
    assert again.model.decode_head.loss_decode == [dict(type='RecallLoss')]
    assert [type_name(metric) for metric in again.test_evaluator] == [
        'IoUMetric',
        'ImbalanceMetric',
        'CalibrationMetric',
    ]
    assert again.test_evaluator[2].num_bins == 20


def test_hooks_of_a_pure_python_config_are_known_by_name(complete):
    config = read_config(complete)
    assert [type_name(hook) in KEPT_HOOKS for hook in config.custom_hooks] == [True, True]
    assert learns_what_to_show(config)
    assert list(schedules_of(config, 8)) == ['loss_lmp']


def test_the_doctor_asks_no_custom_imports_of_a_pure_python_config(complete):
    checks = [one.check for one in examine_config(read_config(complete)).findings]
    assert 'plugin-imported' not in checks


def test_the_doctors_fix_of_a_pure_python_config_is_a_whole_config(complete, tmp_path):
    """MMEngine lets no text config inherit from one of pure Python."""
    config, out = read_config(complete), tmp_path / 'fixed.py'
    out.write_text(fixed_config(config, [], complete, out)[0])
    assert Config.fromfile(out).to_dict() == config.to_dict()


@pytest.mark.parametrize('option', ['hooks.9.a=1', 'hooks.x.a=1', 'lr.x=1'])
def test_overrides_that_lead_nowhere_end_in_a_sentence(tmp_path, option):
    path = tmp_path / 'mine.py'
    path.write_text('hooks, lr = [dict(a=1)], 0.1')
    key, value = option.split('=')
    with pytest.raises(
        ConfigError, match=rf'^--cfg-options {option}: .*give keys that .*mine\.py has'
    ):
        prepare_base(path, {key: value})


def test_a_config_that_is_no_python_is_named_with_its_line(tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text('a = 1\nb = dict(\n')
    with pytest.raises(
        ConfigError, match=r"broken\.py .*'\(' was never closed, line 2: b = dict\("
    ):
        read_config(path)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('from mmseg_balance.hooks import *', r'import \*` is not allowed'),
        ('with read_base():\n    from .no_such import *', r'no_such\.py not found'),
    ],
)
def test_what_mmengine_refuses_in_a_pure_python_config_is_a_sentence(line, message, tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(f'from mmengine.config import read_base\n{line}\n')
    with pytest.raises(ConfigError, match=rf'mine\.py .*{message}'):
        read_config(path)
