"""LossScheduleHook on models: what it moves, what it skips, what it refuses."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable
import copy
import pickle

import pytest
import torch
from mmseg.models.losses import CrossEntropyLoss, DiceLoss
from mmseg.registry import MODELS
from torch import nn

from mmseg_balance.hooks import loss_schedule
from mmseg_balance.hooks.loss_schedule import LossScheduleHook, zero_loss
from tests.support.schedule_samples import (
    AUXILIARIES,
    CE,
    DICE,
    DICE_TO_CE,
    NUM_CLASSES,
    Stage,
    build_model,
    expected_ce,
    head_config,
    losses_named,
    losses_of_a_batch,
)


@pytest.mark.parametrize('weights', [(1.0, 1.0), (0.5, 3.0)])
def test_stock_losses_weigh_their_configured_weight_times_the_schedule(weights):
    reference = build_model(CE, DICE)
    full = losses_of_a_batch(reference)
    model = build_model(CE | dict(loss_weight=weights[0]), DICE | dict(loss_weight=weights[1]))
    stage = Stage(model, LossScheduleHook(DICE_TO_CE))
    for step in [0, 3, 4, 5, 6, 7, 9, 5, 0]:  # in any order: nothing adds up
        stage.at(step)
        losses = losses_of_a_batch(model)
        w_ce = expected_ce(step)
        for name, weight in (('ce', weights[0] * w_ce), ('dice', weights[1] * (1 - w_ce))):
            torch.testing.assert_close(
                losses[f'decode.loss_{name}'], weight * full[f'decode.loss_{name}']
            )
        assert stage.logged == pytest.approx(
            {'train/weight/ce': w_ce, 'train/weight/dice': 1 - w_ce}
        )


def test_the_configured_state_returns_after_training():
    model = build_model(CE | dict(loss_weight=0.7), DICE)
    before = {id(module): dict(vars(module)) for module in model.modules()}
    keys = list(model.state_dict())
    stage = Stage(model, LossScheduleHook(DICE_TO_CE))
    for step in (0, 5, 9):
        stage.at(step)
        assert list(model.state_dict()) == keys
    stage.end()
    assert {id(module): dict(vars(module)) for module in model.modules()} == before


def test_training_again_after_a_break_starts_from_the_configured_weights():
    model, hook = build_model(CE | dict(loss_weight=0.7), DICE), LossScheduleHook(DICE_TO_CE)
    Stage(model, hook).at(5)  # no after_train: an exception ended it
    stage = Stage(model, hook)
    stage.at(9)
    assert losses_named(model, 'loss_ce')[0].loss_weight == 0.7
    stage.end()
    assert 'forward' not in vars(losses_named(model, 'loss_dice')[0])


def test_a_loss_at_weight_zero_is_not_computed(monkeypatch):
    calls = []
    for kind in (CrossEntropyLoss, DiceLoss):
        forward = kind.forward

        def counted(self, *args, forward=forward, **kwargs):
            calls.append(self.loss_name)
            return forward(self, *args, **kwargs)

        monkeypatch.setattr(kind, 'forward', counted)
    model = build_model(CE, DICE)
    stage = Stage(model, LossScheduleHook(DICE_TO_CE))
    computed = {}
    for step in range(10):
        calls.clear()
        stage.at(step)
        losses = losses_of_a_batch(model)
        computed[step] = set(calls)
        total, logged = model.parse_losses(losses)
        total.backward()
        for name in ('loss_ce', 'loss_dice'):
            if name not in computed[step]:
                assert logged[f'decode.{name}'] == 0
    both = {'loss_ce', 'loss_dice'}
    assert computed == {
        step: {'loss_dice'} if step <= 3 else both if step < 7 else {'loss_ce'}
        for step in range(10)
    }


def test_skipping_a_loss_gives_the_gradient_of_the_other_alone():
    alone, pair = build_model(CE), build_model(CE, DICE)
    Stage(pair, LossScheduleHook(DICE_TO_CE)).at(9)
    for model in (alone, pair):
        model.parse_losses(losses_of_a_batch(model))[0].backward()
    for expected, parameter in zip(alone.parameters(), pair.parameters(), strict=True):
        assert torch.equal(parameter.grad, expected.grad)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_the_zero_of_a_skipped_loss(dtype):
    logits = torch.full((2, 3, 4, 5), float('inf'), dtype=dtype, requires_grad=True)
    labels = torch.zeros(2, 4, 5, dtype=torch.long)
    zero = zero_loss(logits, labels, weight=None, ignore_index=255)
    assert zero.item() == 0
    assert zero.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert zero.requires_grad
    zero += 1.5  # a head adds the losses of one name in place
    zero.backward()
    assert logits.grad is None
    per_pixel = zero_loss(logits, labels, reduction_override='none')
    assert per_pixel.shape == labels.shape
    assert not per_pixel.any()


def test_a_model_without_any_live_loss_can_still_step():
    model = build_model(CE)
    Stage(model, LossScheduleHook(dict(loss_ce=dict(type='constant', value=0)))).at(0)
    total, logged = model.parse_losses(losses_of_a_batch(model))
    total.backward()
    assert logged['loss'] == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_a_skipped_loss_works_with_the_hard_pixel_sampler():
    head = head_config(
        CE, CE | dict(loss_name='loss_other'), sampler=dict(type='OHEMPixelSampler', min_kept=20)
    )
    model = build_model(decode_head=head)
    schedules = dict(
        loss_ce=dict(type='constant', value=0), loss_other=dict(type='constant', value=0)
    )
    Stage(model, LossScheduleHook(schedules)).at(0)
    losses = losses_of_a_batch(model)
    assert losses['decode.loss_ce'] == losses['decode.loss_other'] == 0


def test_models_can_be_copied_and_pickled_while_a_loss_is_skipped():
    model = build_model(CE, DICE)
    stage = Stage(model, LossScheduleHook(DICE_TO_CE))
    stage.at(9)
    duplicate = copy.deepcopy(model)
    stage.end()
    assert losses_of_a_batch(model)['decode.loss_dice'] > 0
    assert losses_of_a_batch(duplicate)['decode.loss_dice'] == 0
    stage = Stage(model, LossScheduleHook(DICE_TO_CE))
    stage.at(9)
    thawed = pickle.loads(pickle.dumps(model.decode_head.loss_decode))
    assert thawed[1].forward is zero_loss


def test_a_forward_that_somebody_else_has_put_on_the_loss_survives():
    model = build_model(CE, DICE)
    dice = losses_named(model, 'loss_dice')[0]
    original = dice.forward
    patched = lambda *args, **kwargs: 2 * original(*args, **kwargs)  # noqa: E731
    dice.forward = patched
    stage = Stage(model, LossScheduleHook(DICE_TO_CE))
    stage.at(9)
    assert dice.forward is zero_loss
    stage.at(5)
    assert dice.forward is patched
    stage.end()
    assert dice.forward is patched


@pytest.mark.parametrize(
    ('heads', 'touched'),
    [
        (None, {'decode': 1.0, 'aux_0': 0.4, 'aux_1': 0.2}),
        ('decode_head', {'decode': 1.0}),
        (['decode_head'], {'decode': 1.0}),
        (['auxiliary_head'], {'aux_0': 0.4, 'aux_1': 0.2}),
        (['auxiliary_head.1'], {'aux_1': 0.2}),
        (['decode_head', 'auxiliary_head.0'], {'decode': 1.0, 'aux_0': 0.4}),
    ],
)
def test_heads(heads, touched):
    model = build_model(CE, auxiliary=copy.deepcopy(AUXILIARIES))
    hook = LossScheduleHook(dict(loss_ce=dict(type='constant', value=0.5)), heads=heads)
    stage = Stage(model, hook)
    stage.at(0)
    found = {
        'decode': model.decode_head,
        'aux_0': model.auxiliary_head[0],
        'aux_1': model.auxiliary_head[1],
    }
    for name, configured in dict(decode=1.0, aux_0=0.4, aux_1=0.2).items():
        expected = configured * (0.5 if name in touched else 1)
        assert found[name].loss_decode.loss_weight == expected, name


@pytest.mark.parametrize(
    ('heads', 'weights'),
    [(None, [0.5, 0.5]), (['decode_head'], [0.5, 0.5]), (['decode_head.1'], [1.0, 0.5])],
)
def test_cascaded_heads(heads, weights):
    second = dict(
        type='OCRHead',
        in_channels=4,
        channels=4,
        ocr_channels=4,
        in_index=0,
        num_classes=NUM_CLASSES,
        norm_cfg=dict(type='BN'),
        loss_decode=[CE, DICE],
    )
    model = build_model(
        type='CascadeEncoderDecoder', num_stages=2, decode_head=[head_config(CE, DICE), second]
    )
    Stage(
        model,
        LossScheduleHook(
            dict(
                loss_ce=dict(type='constant', value=0.5), loss_dice=dict(type='constant', value=0)
            ),
            heads,
        ),
    ).at(0)
    assert [loss.loss_weight for loss in losses_named(model, 'loss_ce')] == weights
    losses = losses_of_a_batch(model)
    assert losses['decode_1.loss_dice'] == 0
    assert (losses['decode_0.loss_dice'] == 0) == (weights[0] == 0.5)


def test_losses_of_one_name_move_together():
    model = build_model(CE, CE | dict(loss_weight=2.0), DICE)
    single = losses_of_a_batch(build_model(CE))['decode.loss_ce']
    stage = Stage(model, LossScheduleHook(dict(loss_ce=dict(type='linear'))))
    stage.at(5)
    torch.testing.assert_close(losses_of_a_batch(model)['decode.loss_ce'], 0.5 * 3 * single)
    stage.at(0)
    assert losses_of_a_batch(model)['decode.loss_ce'] == 0


@MODELS.register_module(force=True)
class WrappingLoss(nn.Module):
    """A loss around a loss, with numbers of its own."""

    def __init__(self, inner):
        super().__init__()
        self.inner = MODELS.build(inner)
        self.gamma, self.steps, self.loss_weight, self.loss_name = 2.0, 3, 1.0, 'loss_wrapping'
        self.flag = True

    def forward(self, *args, **kwargs):
        return self.loss_weight * self.inner(*args, **kwargs)


def test_other_numbers_are_set_and_put_back():
    model = build_model(dict(type='WrappingLoss', inner=DICE))
    loss = model.decode_head.loss_decode
    stage = Stage(
        model,
        LossScheduleHook(
            {
                'loss_wrapping.gamma': dict(type='linear', initial=2, final=0.5),
                'loss_wrapping.inner.eps': dict(type='constant', value=0.25),
            }
        ),
    )
    stage.at(5)
    assert (loss.gamma, loss.inner.eps, loss.loss_weight) == (1.25, 0.25, 1.0)
    assert stage.logged == {'train/wrapping/gamma': 1.25, 'train/wrapping/inner.eps': 0.25}
    stage.end()
    assert (loss.gamma, loss.inner.eps) == (2.0, 1e-3)


def test_an_inner_loss_belongs_to_the_outer_one():
    model = build_model(dict(type='WrappingLoss', inner=DICE), DICE)
    Stage(model, LossScheduleHook(dict(loss_dice=dict(type='constant', value=0)))).at(0)
    assert model.decode_head.loss_decode[0].inner.loss_weight == 1.0
    assert losses_of_a_batch(model)['decode.loss_wrapping'] > 0


def test_two_hooks_on_two_heads_log_under_two_names():
    model = build_model(CE, auxiliary=head_config(CE))
    stage = Stage(
        model,
        LossScheduleHook(dict(loss_ce=dict(type='linear')), 'decode_head'),
        LossScheduleHook(dict(loss_ce=dict(type='linear', initial=1, final=0)), 'auxiliary_head'),
    )
    stage.at(1)
    assert stage.logged == {
        'train/weight/decode_head/ce': 0.1,
        'train/weight/auxiliary_head/ce': 0.9,
    }


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('loss_dice', 'dice'),
        ('loss_soft_dice', 'soft_dice'),
        ('dice_loss', 'dice'),
        ('loss', 'all'),
        ('aux_loss_ce', 'aux_ce'),
        ('pixel_loss.gamma', 'pixel.gamma'),
    ],
)
def test_log_names_never_contain_loss(name, expected):
    short = loss_schedule._without_loss(name)
    assert short == expected


@pytest.mark.parametrize(
    ('config', 'attribute', 'values'),
    [
        (dict(type='SoftmaxFocalLoss'), 'gamma', (3.0, 0.5)),
        (dict(type='SoftTverskyLoss'), 'alpha', (0.1, 0.6)),
        (dict(type='SoftDiceLoss'), 'smooth', (0.0, 40.0)),
        (dict(type='LMPLoss'), 'p', (1.3, 2.0)),
        (dict(type='LMPLoss', ratio=0.5), 'ratio', (0.1, 0.9)),
        (dict(type='OHEMCrossEntropyLoss'), 'keep_ratio', (0.7, 0.2)),
        (dict(type='WeightedCrossEntropyLoss'), 'label_smoothing', (0.0, 0.3)),
    ],
)
def test_a_scheduled_number_is_what_the_loss_computes_with(config, attribute, values):
    model = build_model(config)
    name = model.decode_head.loss_decode.loss_name
    first, last = values
    stage = Stage(
        model,
        LossScheduleHook(
            {f'{name}.{attribute}': dict(type='linear', start=0, end=9, initial=first, final=last)}
        ),
    )
    seen = []
    for step, value in ((0, first), (9, last)):
        stage.at(step)
        moved = losses_of_a_batch(model)[f'decode.{name}']
        fresh = losses_of_a_batch(build_model(config | {attribute: value}))[f'decode.{name}']
        torch.testing.assert_close(moved, fresh)
        seen.append(moved.item())
    assert seen[0] != pytest.approx(seen[1])
