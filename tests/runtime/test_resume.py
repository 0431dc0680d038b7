"""Resuming: the images of an uninterrupted run, without loading those that were seen."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import contextlib
import itertools
import multiprocessing
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import DataLoader

from mmseg_balance.hooks import ClassPerformanceHook
from mmseg_balance.runtime.fast_resume_train_loop import jump, jump_infinite_sampler
from mmseg_balance.statistics import ClassStatistics
from tests.support.index_run import CLASSES, Indices, Recorder
from tests.support.ranks import run_ranks
from tests.support.references_sampling import infinite_indices


def statistics() -> ClassStatistics:
    rows = torch.nn.functional.one_hot(torch.arange(20) % 3, 3).numpy()
    return ClassStatistics.from_rows(CLASSES, rows)


WAYS = {
    'infinite': dict(sampler=dict(type='InfiniteSampler', shuffle=True)),
    'in order': dict(sampler=dict(type='InfiniteSampler', shuffle=False)),
    'balanced': dict(
        sampler=dict(type='InfiniteSampler', shuffle=True),
        batch_sampler=dict(
            type='mmseg.BalanceBatchSampler', min_classes=3, statistics=statistics()
        ),
    ),
    'performance': dict(
        sampler=dict(
            type='mmseg.ClassPerformanceSampler', uniform_ratio=0.3, statistics=statistics()
        )
    ),
}


def train(
    folder,
    way: str,
    sequence: list,
    iters: int = 24,
    stop_at: int | None = None,
    resume: bool = False,
    workers: int = 0,
    loop: str = 'mmseg.FastResumeTrainLoop',
    interval: int = 5,
    stride: int = 1,
) -> Runner:
    hooks = [ClassPerformanceHook(interval=3, stride=stride)] if way == 'performance' else []
    runner = Runner(
        Recorder(sequence, stop_at),
        str(folder),
        resume=resume,
        custom_hooks=hooks,
        experiment_name=f'resume_{time.time_ns()}',  # every run has a message hub of its own
        train_dataloader=dict(dataset=Indices(), batch_size=4, num_workers=workers, **WAYS[way]),
        train_cfg=dict(type=loop, max_iters=iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=interval)
        ),
        randomness=dict(seed=1),
        log_level='ERROR',
    )
    with contextlib.suppress(KeyboardInterrupt):
        runner.train()
    return runner


@pytest.mark.parametrize(
    ('way', 'workers'), [*((way, 0) for way in WAYS), ('infinite', 2), ('performance', 2)]
)
def test_a_resumed_run_sees_the_images_of_an_uninterrupted_one(tmp_path, way, workers):
    whole, before, after = [], [], []
    train(tmp_path / 'whole', way, whole, workers=workers)
    train(tmp_path / 'resumed', way, before, stop_at=13, workers=workers)
    resumed = train(tmp_path / 'resumed', way, after, resume=True, workers=workers)
    assert len(whole) == 24
    assert before == whole[:13]
    assert after == whole[10:]  # the checkpoint is that of iteration 10
    if not workers:
        assert resumed.train_dataloader.dataset.loaded == 4 * 14


def test_pixels_are_counted_from_where_the_uninterrupted_run_was(tmp_path):
    options = dict(way='performance', sequence=[], stride=3)
    whole = train(tmp_path / 'whole', **options)
    train(tmp_path / 'resumed', **dict(options, sequence=[]), stop_at=13)
    resumed = train(tmp_path / 'resumed', **options, resume=True)
    expected, found = (
        next(hook for hook in runner.hooks if isinstance(hook, ClassPerformanceHook)).confusion
        for runner in (whole, resumed)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_performance_run_does_change_what_is_drawn(tmp_path):
    """Otherwise the test above could not fail for it."""
    sequence = []
    runner = train(tmp_path, 'performance', sequence)
    probabilities = runner.train_dataloader.sampler.probabilities_at(10**6)
    assert probabilities[1] == 0
    assert probabilities[2] > 0.5 > probabilities[0] > 0


def test_stock_loop_and_ours_agree_from_the_start(tmp_path):
    ours, stock = [], []
    train(tmp_path / 'a', 'infinite', ours)
    train(tmp_path / 'b', 'infinite', stock, loop='IterBasedTrainLoop')
    assert ours == stock


@pytest.mark.parametrize('way', ['balanced', 'performance'])
def test_the_stock_loop_s_replay_reaches_the_same_images(tmp_path, way):
    whole, before, after = [], [], []
    train(tmp_path / 'whole', way, whole, loop='IterBasedTrainLoop')
    train(tmp_path / 'resumed', way, before, stop_at=13, loop='IterBasedTrainLoop')
    train(tmp_path / 'resumed', way, after, resume=True, loop='IterBasedTrainLoop')
    assert after == whole[10:]


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize(('rank', 'world_size'), [(0, 1), (1, 3)])
@pytest.mark.parametrize('draws', [0, 3, 7, 100])
def test_infinite_sampler_after_a_jump(shuffle, rank, world_size, draws):
    sampler = InfiniteSampler(range(7), shuffle=shuffle, seed=5)
    sampler.rank, sampler.world_size = rank, world_size
    jump_infinite_sampler(sampler, draws)
    found = list(itertools.islice(sampler, 30))
    if shuffle:
        assert found == infinite_indices(7, 5, rank, world_size, draws, 30)
    else:
        assert found == [(rank + world_size * (draws + k)) % 7 for k in range(30)]


def test_a_sampler_that_cannot_jump_is_replayed(tmp_path):
    loader = DataLoader(range(8), batch_size=2, sampler=DefaultSampler(range(8), seed=0))
    assert not jump(loader, 3)
    foreign = SimpleNamespace(
        batch_sampler=object(), batch_size=None, sampler=InfiniteSampler(range(8), seed=0)
    )
    assert not jump(foreign, 3)


@pytest.mark.parametrize('way', ['infinite', 'balanced', 'performance'])
def test_iteration_20000_of_40000_loads_only_its_own_images(tmp_path, way):
    train(tmp_path, way, [], iters=1, interval=1)
    checkpoint = torch.load(tmp_path / 'iter_1.pth', weights_only=False)
    checkpoint['meta']['iter'] = 20_000
    torch.save(checkpoint, tmp_path / 'iter_1.pth')
    sequence = []
    runner = train(tmp_path, way, sequence, iters=40_000, stop_at=1, resume=True)
    assert runner.iter == 20_000
    assert runner.train_dataloader.dataset.loaded == 4
    assert len(sequence) == 1


class Written(list):
    """A sequence that outlives the process which appends to it."""

    def __init__(self, path) -> None:
        super().__init__()
        self.path = path

    def append(self, indices: list[int]) -> None:
        with open(self.path, 'a') as file:
            print(*indices, file=file)
        time.sleep(0.02)

    def read(self) -> list[list[int]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [[int(i) for i in line.split()] for line in lines]


def test_a_killed_run_resumes(tmp_path):
    def start(sequence: Written, resume: bool) -> multiprocessing.Process:
        process = multiprocessing.get_context('fork').Process(
            target=train,
            kwargs=dict(
                folder=tmp_path / 'run', way='balanced', sequence=sequence, iters=40, resume=resume
            ),
        )
        process.start()
        return process

    whole = []
    train(tmp_path / 'whole', 'balanced', whole, iters=40)
    before, after = Written(tmp_path / 'before.txt'), Written(tmp_path / 'after.txt')
    process = start(before, resume=False)
    while len(before.read()) < 23:
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    start(after, resume=True).join()
    done = 40 - len(after.read())
    assert 15 <= done < 40  # a checkpoint every five iterations
    assert before.read() == whole[: len(before.read())]
    assert after.read() == whole[done:]


def test_forgetting_is_exponential(tmp_path):
    sequence = []
    runner = train(tmp_path, 'performance', sequence, iters=9)
    hook = next(h for h in runner.hooks if isinstance(h, ClassPerformanceHook))
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for start in (0, 3, 6):
        expected *= 0.9
        for label in itertools.chain(*sequence[start : start + 3]):
            label %= 3
            # The head's one row of labels is repeated four times; only class 1 is predicted.
            expected[label, 1 if label == 1 else 0] += 4
    torch.testing.assert_close(hook.confusion, expected)


def _gather_on_rank(rank: int) -> list:
    hook = ClassPerformanceHook()
    hook.recent = torch.zeros(2, 2, dtype=torch.int64)
    counted = [torch.tensor([[1, 2], [3, 4]]), None][rank]  # rank 1 has nothing to report
    hook.pixel_sampler = SimpleNamespace(take=lambda: counted)
    hook._gather(SimpleNamespace(model=nn.Linear(1, 1)))
    return hook.recent.tolist()


def test_counts_are_added_over_ranks():
    assert run_ranks(_gather_on_rank, 2) == [[[1, 2], [3, 4]]] * 2


@pytest.mark.parametrize('kind', [torch.long, torch.float])  # a one-channel head's is a float
def test_validation_can_be_the_source(kind):
    hook = ClassPerformanceHook(source='val')
    reports = []
    sampler = SimpleNamespace(
        statistics=statistics(),
        class_draws=torch.zeros(3).numpy(),
        state_dict=dict,
        endless=True,
        report=lambda iou, start, consumed: reports.append((iou.tolist(), start, consumed)) or iou,
    )
    runner = SimpleNamespace(
        iter=50,
        model=Recorder([]),
        hooks=[],
        train_loop=None,
        logger=SimpleNamespace(info=print),
        train_dataloader=SimpleNamespace(
            sampler=sampler, num_workers=2, prefetch_factor=2, batch_size=4
        ),
        visualizer=SimpleNamespace(add_scalars=lambda scalars, step: None),
    )
    hook.before_train(runner)
    hook.before_val(runner)
    for labels, pred in (([0, 0, 1, 255], [0, 1, 1, 2]), ([2, 2, 2, 2], [2, 2, 0, 2])):
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.tensor([[labels]]))
        sample.pred_sem_seg = PixelData(data=torch.tensor([[pred]], dtype=kind))
        hook.after_val_iter(runner, 0, outputs=[sample])
    hook.after_val_epoch(runner)
    # class 0: 1 of 3 in the union; class 1: 1 of 2; class 2: 3 of 4. Four batches are ahead.
    assert reports == [([1 / 3, 1 / 2, 3 / 4], (50 + 4) * 4, 50 * 4)]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(momentum=1), 'momentum'),
        (dict(source='test'), "'train' or 'val'"),
        (dict(interval=0), 'interval'),
    ],
)
def test_hook_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ClassPerformanceHook(**options)


def test_the_hook_says_what_it_lacks(tmp_path):
    runner = SimpleNamespace(
        train_dataloader=SimpleNamespace(sampler=InfiniteSampler(range(3), seed=0))
    )
    with pytest.raises(ValueError, match='ClassPerformanceSampler.*got InfiniteSampler'):
        ClassPerformanceHook().before_train(runner)


@pytest.mark.parametrize('source', ['train', 'val'])
def test_a_head_of_other_classes_than_the_training_set_is_refused(source):
    model = Recorder([])
    model.decode_head.num_classes = 7
    sampler = SimpleNamespace(statistics=statistics(), report=None, endless=True)
    runner = SimpleNamespace(
        model=model, train_loop=None, train_dataloader=SimpleNamespace(sampler=sampler)
    )
    with pytest.raises(ValueError, match='num_classes=7, but the training set 3 classes'):
        ClassPerformanceHook(source=source).before_train(runner)


def test_a_head_that_never_calls_its_pixel_sampler_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Recorder, 'forward', lambda self, inputs, mode='', **kwargs: dict(loss=self.weight.sum())
    )
    with pytest.raises(RuntimeError, match="Head: this head does not call it.*source='val'"):
        train(tmp_path, 'performance', [])


def test_a_head_without_a_pixel_sampler_is_named(monkeypatch):
    """K-Net's IterativeDecodeHead and heads that classify masks: it was an AttributeError."""
    model = Recorder([])
    monkeypatch.delattr(type(model.decode_head), 'sampler')
    sampler = SimpleNamespace(statistics=statistics(), report=None, endless=True)
    runner = SimpleNamespace(
        model=model, train_loop=None, train_dataloader=SimpleNamespace(sampler=sampler)
    )
    with pytest.raises(ValueError, match="Head has no pixel sampler.*source='val'"):
        ClassPerformanceHook().before_train(runner)
    ClassPerformanceHook(source='val').before_train(runner)


@pytest.mark.parametrize('source', ['train', 'val'])
def test_one_channel_by_its_number_of_classes_is_two(source, monkeypatch):
    """``num_classes=1``, with which MMSegmentation makes one channel, was refused."""
    model = Recorder([])
    monkeypatch.setattr(type(model.decode_head), 'num_classes', 1)
    two = ClassStatistics.from_rows('ab', [[4, 4], [4, 0]])
    sampler = SimpleNamespace(statistics=two, report=None, endless=True)
    runner = SimpleNamespace(
        model=model, train_loop=None, train_dataloader=SimpleNamespace(sampler=sampler)
    )
    hook = ClassPerformanceHook(source=source)
    hook.before_train(runner)
    assert hook.confusion.shape == (2, 2)
