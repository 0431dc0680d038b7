"""Exact resume, bit by bit, in either train loop."""

import pytest
import torch

from tests.support.tiny_run import Recorder, tiny_config, train

LOOPS = pytest.mark.parametrize('loop', ['IterBasedTrainLoop', 'FastResumeTrainLoop'])
EPOCH_LOOP = 'EpochBasedTrainLoop'
ITERATIONS, EPOCHS = dict(max_iters=8), dict(max_epochs=4)  # two iterations of three images each
SEEDED = [dict(type='IterationSeedHook')]


def weights(runner) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in runner.model.state_dict().values()])


def whole_and_resumed(tmp_path, loop, hooks, **changes):
    """Losses and weights of a run of 8 iterations, and of one stopped after 5 and resumed at 4."""

    def run(work_dir, resume=False, stop_after=None):
        recorder = Recorder(stop_after)
        cfg = tiny_config(tmp_path / 'data', tmp_path / work_dir, **changes)
        cfg.train_cfg = dict(type=loop, **(EPOCHS if loop == EPOCH_LOOP else ITERATIONS))
        cfg.resume = resume
        return train(cfg, recorder, hooks), recorder.losses

    whole, losses = run('whole')
    run('resumed', stop_after=5)
    resumed, later = run('resumed', resume=True)
    assert sorted(later) == [5, 6, 7, 8]
    return losses, later, weights(whole), weights(resumed)


@LOOPS
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, loop):
    losses, later, whole, resumed = whole_and_resumed(tmp_path, loop, SEEDED)
    assert {step: losses[step] for step in later} == later
    assert torch.equal(whole, resumed)


def test_by_epoch_too(tmp_path):
    losses, later, whole, resumed = whole_and_resumed(
        tmp_path,
        EPOCH_LOOP,
        SEEDED,
        train_dataloader=dict(batch_size=3, sampler=dict(type='DefaultSampler', shuffle=True)),
        default_hooks=dict(
            sampler_seed=dict(type='DistSamplerSeedHook'),
            checkpoint=dict(by_epoch=True, interval=1),
        ),
    )
    assert {step: losses[step] for step in later} == later
    assert torch.equal(whole, resumed)


@LOOPS
def test_without_the_hook_it_is_not(tmp_path, loop):
    """Otherwise the tests above could not fail."""
    losses, later, whole, resumed = whole_and_resumed(tmp_path, loop, [])
    assert {step: losses[step] for step in later} != later
    assert not torch.equal(whole, resumed)


def test_every_iteration_draws_anew_and_another_seed_other_numbers(tmp_path):
    losses = []
    for seed in (0, 1):
        cfg = tiny_config(
            tmp_path / 'data', tmp_path / str(seed), iterations=4, randomness=dict(seed=seed)
        )
        cfg.optim_wrapper.optimizer.lr = 0.0  # what differs is drawn, not learnt
        cfg.train_dataloader.sampler.shuffle = False
        cfg.train_dataloader.batch_size = 6
        recorder = Recorder()
        train(cfg, recorder, SEEDED)
        losses += recorder.losses.values()
    assert len(set(losses)) == len(losses) == 8
