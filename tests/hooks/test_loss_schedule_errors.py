"""What LossScheduleHook refuses before training, and how it says so."""

import copy

import pytest

from mmseg_balance.hooks.loss_schedule import LossScheduleHook
from tests.support.schedule_samples import AUXILIARIES, CE, DICE, Stage, build_model


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            dict(schedules=dict(loss_dise=dict(type='linear'))),
            r"no loss is named 'loss_dise'; the model has 'loss_ce' \(decode_head, auxiliary_head.0, "
            r"auxiliary_head.1\), 'loss_dice' \(decode_head\)\.",
        ),
        (
            dict(schedules=dict(loss_dice=dict(type='linear')), heads=['auxiliary_head']),
            r"no loss is named 'loss_dice'; the model has 'loss_ce' \(auxiliary_head.0",
        ),
        (
            dict(schedules=dict(loss_dice=dict(type='linear')), heads=['decode_heads']),
            r"no head 'decode_heads' with a loss; those that have one are 'auxiliary_head.0', "
            r"'auxiliary_head.1', 'decode_head'",
        ),
        (
            dict(schedules={'loss_dice.gamma': dict(type='linear')}),
            r"'loss_dice.gamma' asks for a number 'gamma' that DiceLoss does not have; it has "
            r'loss_weight, eps, ignore_index',
        ),
        (dict(schedules={'loss_dice.activate': dict(type='linear')}), r'DiceLoss does not have'),
        (dict(schedules={'loss_dice.inner.eps': dict(type='linear')}), r'DiceLoss does not have'),
        (
            dict(schedules={'loss_dice.loss_weight': dict(type='linear')}),
            r"write 'loss_dice' in place of 'loss_dice.loss_weight'",
        ),
        (
            dict(schedules=dict(loss_dice=dict(type='naive', start=0.9, end=0.3))),
            r"Schedule of 'loss_dice': end=0.3 \(iteration 3\) comes before",
        ),
        (
            dict(schedules=dict(loss_dice=dict(type='nave'))),
            r"type='nave' is no schedule: use one of",
        ),
        (
            dict(schedules=dict(loss_dice=dict(complement_of='loss_ce'))),
            r"complement_of='loss_ce' has no schedule",
        ),
    ],
)
def test_mistakes_stop_before_training(arguments, message):
    model = build_model(CE, DICE, auxiliary=copy.deepcopy(AUXILIARIES))
    with pytest.raises(ValueError, match=message):
        Stage(model, LossScheduleHook(**arguments))


def test_a_loss_without_a_weight_is_refused():
    model = build_model(DICE)
    del model.decode_head.loss_decode.loss_weight
    with pytest.raises(ValueError, match="'loss_dice' asks for a number 'loss_weight' that Dice"):
        Stage(model, LossScheduleHook(dict(loss_dice=dict(type='linear'))))


@pytest.mark.parametrize('schedules', [{}, None, ['loss_ce']])
def test_schedules_must_be_a_dict_with_entries(schedules):
    with pytest.raises(ValueError, match='must be a dict with at least one entry'):
        LossScheduleHook(schedules)


def test_two_hooks_on_one_loss_are_refused():
    model = build_model(CE, DICE)
    first = LossScheduleHook(dict(loss_ce=dict(type='linear')))
    second = LossScheduleHook(dict(loss_ce=dict(type='cosine')), heads='decode_head')
    with pytest.raises(ValueError, match="Two LossScheduleHooks move 'loss_ce' of the same loss"):
        Stage(model, first, second)
