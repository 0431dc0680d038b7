"""What must happen before a checkpoint happens before each of them."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook
from torch import nn

from mmseg_balance.hooks import ClassPerformanceHook, FiniteLossHook, LabelCheckHook
from mmseg_balance.hooks.checkpoint_due import checkpoint_due

NAN = {'loss': torch.tensor(torch.nan), 'decode.loss_dice': torch.tensor(torch.nan)}


def runner_at(iteration: int, hook: CheckpointHook | None, device='meta') -> SimpleNamespace:
    """A run of 7 iterations, or of epochs of 4, on an accelerator that is none."""
    return SimpleNamespace(
        iter=iteration - 1,
        max_iters=7,
        hooks=[] if hook is None else [hook],
        model=nn.Linear(1, 1, device=device),
        train_dataloader=range(4),
    )


@pytest.mark.parametrize(
    ('hook', 'due'),
    [
        (CheckpointHook(interval=3, by_epoch=False), {3, 6, 7}),
        (CheckpointHook(interval=3, by_epoch=False, save_last=False), {3, 6}),
        (CheckpointHook(interval=2, by_epoch=False, save_begin=3), {3, 5, 7}),
        (CheckpointHook(interval=-1, by_epoch=False), {7}),
        (CheckpointHook(interval=1, by_epoch=True), set()),
        (None, set()),
    ],
)
def test_due_when_the_checkpoint_hook_saves(hook, due):
    assert {i for i in range(1, 8) if checkpoint_due(runner_at(i, hook))} == due


def refused(runner, batch_idx: int = 0) -> bool:
    try:
        FiniteLossHook().after_train_iter(runner, batch_idx, outputs=NAN)
    except FloatingPointError:
        return True
    return False


def test_no_checkpoint_of_a_nan_loss_at_the_end_of_a_run_on_a_gpu():
    """``save_last`` is on by default, and the last iteration is seldom a multiple of 50."""
    hook = CheckpointHook(interval=5, by_epoch=False)
    assert [i for i in range(1, 8) if refused(runner_at(i, hook))] == [5, 7]


def test_no_checkpoint_of_a_nan_loss_at_the_end_of_an_epoch_on_a_gpu():
    hook = CheckpointHook(interval=1, by_epoch=True)
    assert [i for i in range(4) if refused(runner_at(1, hook), batch_idx=i)] == [3]


def test_every_iteration_on_a_cpu():
    with pytest.raises(FloatingPointError, match='iteration 1: decode.loss_dice is nan'):
        FiniteLossHook().after_train_iter(runner_at(1, None, device='cpu'), 0, outputs=NAN)


def test_the_best_checkpoint_is_looked_at_too():
    """``save_best`` saves after a validation, on a GPU before any look: the best weights were NaN."""
    hook, runner = FiniteLossHook(), runner_at(1, None)
    hook.before_val(runner)  # a validation before the first iteration
    hook.after_train_iter(runner, 0, outputs=NAN)
    with pytest.raises(FloatingPointError, match='iteration 1: decode.loss_dice is nan'):
        hook.before_val(runner)


@pytest.mark.parametrize('batches', [True, False])
def test_a_run_whose_labels_are_checked_is_not_told_to_check_them(batches):
    """The message asked for the ``LabelCheckHook`` that every schedule here has."""
    runner = runner_at(1, None, device='cpu')
    runner.hooks.append(LabelCheckHook(batches=batches))
    remedy = 'lower the learning rate' if batches else 'a label that is neither'
    with pytest.raises(FloatingPointError, match=f'loss_dice is nan: {remedy}'):
        FiniteLossHook().after_train_iter(runner, 0, outputs=NAN)


def test_the_last_checkpoint_has_all_ranks_counts(monkeypatch):
    hook = ClassPerformanceHook(interval=50)
    gathered = []
    monkeypatch.setattr(hook, '_gather', lambda runner: gathered.append(runner.iter + 1))
    for iteration in range(1, 8):
        hook.after_train_iter(runner_at(iteration, CheckpointHook(interval=5, by_epoch=False)), 0)
    assert gathered == [5, 7]
