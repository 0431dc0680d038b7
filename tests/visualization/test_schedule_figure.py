"""Drawn schedules: the curves on the picture, and configs of every kind."""

import argparse
import math

import pytest
from mmengine.config import Config

from mmseg_balance.visualization import schedule


def hook(schedules, **kwargs):
    return dict(type='LossScheduleHook', schedules=schedules, **kwargs)


def config_of(*hooks, **train_cfg):
    return Config(dict(custom_hooks=list(hooks), train_cfg=train_cfg))


PAIR = dict(loss_ce=dict(type='alternating'), loss_dice=dict(complement_of='loss_ce'))


def test_the_drawn_curves_are_figure_4():
    config = config_of(hook(PAIR), max_iters=200)
    figure = schedule.schedule_figure(schedule.schedules_of(config, 200), 200)
    (axes,) = figure.axes
    curves = {line.get_label(): line for line in axes.lines}
    assert set(curves) == {'loss_ce', 'loss_dice'}
    for x, w_ce, w_dice in zip(
        curves['loss_ce'].get_xdata(),
        curves['loss_ce'].get_ydata(),
        curves['loss_dice'].get_ydata(),
        strict=True,
    ):
        rise = 1 - math.cos(math.pi / 2 * min(1, max(0, (x - 0.5) / 0.4)))
        assert w_ce == pytest.approx(max(0, 1 - x / 0.5) + rise, abs=1e-12)
        assert w_dice == pytest.approx(1 - w_ce, abs=1e-12)
    assert curves['loss_ce'].get_xdata()[0] == 0
    assert curves['loss_ce'].get_xdata()[-1] == 1


def test_other_numbers_get_a_panel_of_their_own():
    config = config_of(hook(PAIR | {'loss_focal.gamma': dict(type='linear', initial=2, final=0)}))
    figure = schedule.schedule_figure(schedule.schedules_of(config, 100), 100)
    assert [[line.get_label() for line in axes.lines] for axes in figure.axes] == [
        ['loss_ce', 'loss_dice'],
        ['loss_focal.gamma'],
    ]


def test_hooks_for_several_heads_are_told_apart():
    config = config_of(
        hook(PAIR, heads='decode_head'),
        hook({'loss_ce.x': dict(type='linear')}, heads=['auxiliary_head']),
    )
    names = list(schedule.schedules_of(config, 100))
    assert names == ['decode_head: loss_ce', 'decode_head: loss_dice', 'auxiliary_head: loss_ce.x']
    assert len(schedule.schedule_figure(schedule.schedules_of(config, 100), 100).axes) == 2


@pytest.mark.parametrize(
    ('train_cfg', 'iterations', 'expected'),
    [
        (dict(max_iters=600), None, (600, '600 iterations')),
        (dict(max_iters=600), 50, (50, '50 iterations')),
        (dict(max_epochs=30), None, (1000, '30 epochs')),
        (dict(), None, (1000, 'of any length')),
    ],
)
def test_length_of_a_run(train_cfg, iterations, expected):
    assert schedule.length_of(config_of(hook(PAIR), **train_cfg), iterations) == expected


@pytest.mark.parametrize(
    'spec',
    [
        dict(type='linear', end=40),
        dict(type='piecewise', boundaries=[0.5, 70], schedules=[dict(type='cosine')] * 3),
        dict(
            type='piecewise',
            boundaries=[0.5],
            schedules=[dict(type='cosine', start=2), dict(type='cosine')],
        ),
    ],
)
def test_epochs_with_positions_in_iterations_ask_for_the_length(spec):
    config = config_of(hook(dict(loss_ce=spec)), max_epochs=30)
    with pytest.raises(ValueError, match='give --iterations'):
        schedule.length_of(config)
    assert schedule.length_of(config, 90) == (90, '90 iterations')


def test_a_value_above_one_is_no_position():
    config = config_of(hook(dict(loss_ce=dict(type='linear', initial=4, final=2))), max_epochs=3)
    assert schedule.length_of(config) == (1000, '3 epochs')


def test_a_config_without_the_hook_is_refused():
    with pytest.raises(ValueError, match='no LossScheduleHook to draw'):
        schedule.schedules_of(config_of(), 100)


def test_the_command_writes_a_picture(tmp_path, repository, capsys):
    parser = argparse.ArgumentParser()
    schedule.add_arguments(parser)
    out = tmp_path / 'figures' / 'dlnce.png'
    schedule.run(
        parser.parse_args(
            [
                str(repository / 'configs/_base_/losses/dlnce.py'),
                '--out',
                str(out),
                '--cfg-options',
                'train_cfg.max_iters=120',
            ]
        )
    )
    assert out.read_bytes().startswith(b'\x89PNG')
    assert str(out) in capsys.readouterr().out
