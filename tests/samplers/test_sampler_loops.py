"""Every sampler in every loop: where it ends, and exact resume."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import contextlib
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import InfiniteSampler
from mmengine.runner import Runner

from mmseg_balance.hooks import ClassPerformanceHook
from mmseg_balance.samplers import (
    BalanceBatchSampler,
    ClassPerformanceSampler,
    RareClassSampler,
    RepeatFactorSampler,
)
from mmseg_balance.statistics import ClassStatistics
from tests.support.index_run import CLASSES, Indices, Recorder

SIZE = 22  # in batches of four: five and a short one
ITERATIONS, FAST = 'IterBasedTrainLoop', 'mmseg.FastResumeTrainLoop'


def statistics() -> ClassStatistics:
    rows = np.eye(3, dtype=int)[np.arange(SIZE) % 3] * [90, 9, 1]
    return ClassStatistics.from_rows(CLASSES, rows)


INFINITE = dict(type='InfiniteSampler', shuffle=True)
WAYS = {
    'balanced': dict(
        sampler=INFINITE,
        batch_sampler=dict(
            type='mmseg.BalanceBatchSampler', min_classes=3, statistics=statistics()
        ),
    ),
    'performance': dict(
        sampler=dict(
            type='mmseg.ClassPerformanceSampler', uniform_ratio=0.3, statistics=statistics()
        )
    ),
    'repeat': dict(
        sampler=dict(type='mmseg.RepeatFactorSampler', threshold=0.5, statistics=statistics())
    ),
    'rare': dict(
        sampler=dict(type='mmseg.RareClassSampler', temperature=0.5, statistics=statistics())
    ),
}
# A third of the images has each class, so all repeat factors are sqrt(3 / 2).
BATCHES = {'balanced': 5, 'performance': 6, 'repeat': 7, 'rare': 6}


def train(
    folder: Path,
    way: str,
    train_cfg: dict,
    stop_at: int | None = None,
    resume: bool = False,
    workers: int = 0,
    persistent: bool = False,
) -> list[list[int]]:
    sequence = []
    by_epoch = train_cfg.get('by_epoch', False)
    runner = Runner(
        Recorder(sequence, stop_at),
        str(folder),
        resume=resume,
        custom_hooks=[ClassPerformanceHook(interval=3, stride=1)] if way == 'performance' else [],
        experiment_name=f'loops_{time.time_ns()}',  # every run has a message hub of its own
        train_dataloader=dict(
            dataset=Indices(SIZE),
            batch_size=4,
            num_workers=workers,
            persistent_workers=persistent,
            **WAYS[way],
        ),
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=by_epoch, interval=1 if by_epoch else 5)
        ),
        randomness=dict(seed=1),
        log_level='ERROR',
    )
    with contextlib.suppress(KeyboardInterrupt):
        runner.train()
    return sequence


def epochs(number: int) -> dict:
    return dict(by_epoch=True, max_epochs=number)


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize(('workers', 'persistent'), [(0, False), (2, True)])
def test_an_epoch_based_loop_ends_and_its_epochs_differ(tmp_path, way, workers, persistent):
    sequence = train(tmp_path, way, epochs(3), workers=workers, persistent=persistent)
    assert len(sequence) == 3 * BATCHES[way]
    parts = [sequence[i::3] for i in range(3)]
    assert parts[0] != parts[1] != parts[2]


@pytest.mark.parametrize('way', WAYS)
def test_a_single_epoch_ends(tmp_path, way):
    assert len(train(tmp_path, way, epochs(1))) == BATCHES[way]


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('workers', [0, 2])
def test_a_resumed_epoch_based_run_is_the_uninterrupted_one(tmp_path, way, workers):
    batches = BATCHES[way]
    whole = train(tmp_path / 'whole', way, epochs(4), workers=workers)
    before = train(tmp_path / 'part', way, epochs(4), workers=workers, stop_at=2 * batches + 2)
    after = train(tmp_path / 'part', way, epochs(4), workers=workers, resume=True)
    assert before == whole[: 2 * batches + 2]
    assert after == whole[2 * batches :]  # the checkpoint is that of the second epoch


@pytest.mark.parametrize('loop', [ITERATIONS, FAST])
@pytest.mark.parametrize('way', WAYS)
def test_a_resumed_iteration_based_run_is_the_uninterrupted_one(tmp_path, way, loop, monkeypatch):
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)
    cfg = dict(type=loop, max_iters=18)
    whole = train(tmp_path / 'whole', way, cfg)
    before = train(tmp_path / 'part', way, cfg, stop_at=13)
    after = train(tmp_path / 'part', way, cfg, resume=True)
    assert len(whole) == 18
    assert before == whole[:13]
    assert after == whole[10:]


def restarted(seconds: float) -> None:
    raise AssertionError('the loader came to an end in an iteration-based loop')


@pytest.mark.parametrize(
    ('way', 'loop', 'workers'),
    [
        *((way, FAST, 0) for way in WAYS),
        *((way, ITERATIONS, 2) for way in WAYS),
        # torch's BatchSampler asks a plain sampler for its iterator only with the first batch, when
        # no sampler can tell the loops apart; the performance hook can.
        ('balanced', ITERATIONS, 0),
        ('performance', ITERATIONS, 0),
    ],
)
def test_an_iteration_based_loop_never_restarts_its_loader(
    tmp_path, way, loop, workers, monkeypatch
):
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', restarted)
    sequence = train(tmp_path, way, dict(type=loop, max_iters=18), workers=workers)
    assert len(sequence) == 18
    assert {len(batch) for batch in sequence} == {4}


@pytest.mark.parametrize('way', ['repeat', 'rare'])
def test_without_workers_the_stock_loop_sees_the_same_images_pass_by_pass(
    tmp_path, way, monkeypatch
):
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)
    passes = train(tmp_path / 'a', way, dict(type=ITERATIONS, max_iters=18))
    endless = train(tmp_path / 'b', way, dict(type=FAST, max_iters=18))
    flat = [image for batch in passes for image in batch]
    assert flat == [image for batch in endless for image in batch][: len(flat)]


def test_reports_count_the_short_batches_of_epochs(tmp_path):
    """After two epochs of 22 images in batches of four, 44 images are used up, not 48."""
    sampler = ClassPerformanceSampler(Indices(SIZE), statistics=statistics(), seed=0)
    reports = []
    sampler.report = lambda iou, start, consumed: reports.append((start, consumed)) or iou
    hook = ClassPerformanceHook(interval=6, stride=1)
    runner = Runner(
        Recorder([]),
        str(tmp_path),
        custom_hooks=[hook],
        experiment_name='short',
        train_dataloader=dict(dataset=Indices(SIZE), batch_size=4, num_workers=0, sampler=sampler),
        train_cfg=epochs(2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        log_level='ERROR',
    )
    runner.train()
    assert reports == [(22, 22), (44, 44)]


def all_samplers(world_size: int = 1, rank: int = 0) -> dict[str, object]:
    found = statistics()
    samplers = {
        'balanced': BalanceBatchSampler(
            InfiniteSampler(Indices(SIZE), seed=3), 4, 3, statistics=found
        ),
        'performance': ClassPerformanceSampler(Indices(SIZE), statistics=found, seed=3),
        'repeat': RepeatFactorSampler(Indices(SIZE), 0.5, statistics=found, seed=3),
        'rare': RareClassSampler(Indices(SIZE), 0.5, statistics=found, seed=3),
    }
    for sampler in samplers.values():
        sampler.rank, sampler.world_size = rank, world_size
    return samplers


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('world_size', [1, 2])
def test_epochs_are_pieces_of_the_endless_sequence(way, world_size):
    for rank in range(world_size):
        endless = iter(all_samplers(world_size, rank)[way])
        sampler = all_samplers(world_size, rank)[way]
        expected = [next(endless) for _ in range(3 * len(sampler))]
        found = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            found += list(sampler)
        assert found == expected
        resumed = all_samplers(world_size, rank)[way]
        resumed.set_epoch(2)
        assert list(resumed) == expected[2 * len(sampler) :]
