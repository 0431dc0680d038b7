"""Configs of a user's own, anywhere: text configs on our bases, and MMEngine's pure Python ones."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.registry import HOOKS, init_default_scope
from mmseg.registry import DATA_SAMPLERS, MODELS

from mmseg_balance import hooks, losses, samplers
from mmseg_balance.statistics import ClassStatistics


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
