"""Findings about schedules, and that their fixes are right whatever was meant."""

import pytest
from mmengine.config import Config

from mmseg_balance.doctor import examine_config
from mmseg_balance.doctor.fixes import apply_fix

WARM_UP = dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500)


def findings(config, checks):
    every = examine_config(config, labels=False, progress=False).findings
    return [one for one in every if one.check in checks]


def length_findings(config, iterations, *schedulers):
    config.train_cfg.update(max_iters=iterations, val_interval=iterations)
    config.param_scheduler = list(schedulers)
    return findings(config, ['scheduler-length'])


def poly(**arguments):
    return dict(type='PolyLR', by_epoch=False, **arguments)


@pytest.mark.parametrize(
    ('iterations', 'schedulers'),
    [
        (40_000, [WARM_UP, poly(begin=1500, end=160_000)]),
        (160_000, [WARM_UP, poly(begin=1500, end=40_000, eta_min=0)]),
        (1000, [poly(begin=0, end=160_000)]),
    ],
)
def test_fixed_schedules_have_no_finding(config, iterations, schedulers):
    (found,) = length_findings(config, iterations, *schedulers)
    content = config.to_dict()
    apply_fix(content, found.fix)
    assert findings(Config(content), ['scheduler-length']) == []


def test_a_schedule_after_the_training_is_not_begun_at_0(config):
    """The fix let it act together with the warm-up, with its own end still after the training."""
    warm_up, late = length_findings(config, 1000, WARM_UP, poly(begin=1500, end=160_000))
    assert (warm_up.fix, late.fix) == (None, None)
    assert 'never gets as high' in warm_up.message
    assert 'never acts' in late.message


def test_a_cosine_ends_with_the_training_and_has_its_length(config):
    """``T_max`` stayed, with which the learning rate hardly falls before the new end."""
    cosine = dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=160_000, T_max=160_000)
    (found,) = length_findings(config, 1000, cosine)
    assert found.fix == {'param_scheduler.0.end': 1000, 'param_scheduler.0.T_max': 800}


def test_a_schedule_that_is_converted_to_iterations_is_no_error(config):
    config.train_cfg.max_iters = 40_000
    config.param_scheduler = [dict(type='PolyLR', end=100, convert_to_iter_based=True)]
    assert findings(config, ['scheduler-by-epoch']) == []


@pytest.mark.parametrize(
    ('scheduler', 'iterations'),
    [
        (dict(type='PolyLR', end=100), False),
        (dict(type='MultiStepLR', milestones=[60, 90]), False),
        (dict(type='ExponentialLR', gamma=0.9), False),
        (dict(type='PolyLR', begin=1500, end=40_000), True),
        (dict(type='MultiStepLR', milestones=[24_000, 36_000]), True),
    ],
)
def test_a_number_of_epochs_is_not_taken_for_iterations(config, scheduler, iterations):
    """The fix counted the same numbers in iterations: a schedule of 100 epochs ended at once."""
    config.train_cfg.max_iters = 40_000
    warm_up = dict(WARM_UP, by_epoch=True)
    config.param_scheduler = [dict(warm_up, end=scheduler.get('begin', 5)), scheduler]
    fixes = [one.fix for one in findings(config, ['scheduler-by-epoch'])]
    assert [bool(fix) for fix in fixes] == [iterations] * 2


@pytest.mark.parametrize(('interval', 'iterations'), [(-1, False), (1, False), (4000, True)])
def test_an_interval_of_epochs_is_not_taken_for_iterations(config, interval, iterations):
    """The fix wrote a checkpoint every iteration."""
    config.train_cfg.update(max_iters=40_000)
    config.default_hooks.checkpoint = dict(type='CheckpointHook', interval=interval)
    (found,) = findings(config, ['intervals'])
    assert bool(found.fix) == iterations
    assert ('in iterations' in found.change) != iterations
