"""LossScheduleHook in runs: resumed, by epochs, distributed, and the composites of the configs."""

import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_balance.hooks import loss_schedule
from mmseg_balance.hooks.loss_schedule import LossScheduleHook
from tests.support.ranks import run_ranks
from tests.support.schedule_samples import (
    CE,
    DICE,
    DICE_TO_CE,
    NUM_CLASSES,
    Squares,
    Stage,
    batch,
    build_model,
    expected_ce,
    head_config,
    losses_named,
    losses_of_a_batch,
    model_config,
)


class Interrupt(Hook):
    """Break the run off like a lost machine, after everything else in that iteration."""

    priority = 'VERY_LOW'

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            raise InterruptedError


def make_runner(
    work_dir, name, model, hooks, *, max_iters=10, by_epoch=False, backends=(), **kwargs
):
    loop = (
        dict(by_epoch=True, max_epochs=max_iters // 4)
        if by_epoch
        else dict(by_epoch=False, max_iters=max_iters)
    )
    sampler = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
    return Runner(
        model=model,
        work_dir=str(work_dir),
        default_scope='mmseg',
        experiment_name=name,
        train_dataloader=dict(
            dataset=Squares(),
            batch_size=2,
            num_workers=0,
            sampler=dict(type=sampler, shuffle=True),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=loop,
        randomness=dict(seed=3),
        log_level='WARNING',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        log_processor=dict(by_epoch=by_epoch, window_size=1),
        visualizer=dict(
            type='Visualizer',
            name=name,
            vis_backends=[
                dict(type='LocalVisBackend'),
                *[dict(type=backend) for backend in backends],
            ],
        ),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', by_epoch=by_epoch, interval=4),
        ),
        custom_hooks=hooks,
        **kwargs,
    )


def scalars(work_dir):
    """All entries of the runs in a folder, a later run's in place of an earlier one's."""
    rows = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        rows |= {row['iter']: row for row in map(json.loads, path.read_text().splitlines())}
    return [rows[key] for key in sorted(rows)]


def without_clock(rows):
    clock = ('time', 'data_time', 'memory')
    return [{key: value for key, value in row.items() if key not in clock} for row in rows]


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def distributed_steps(model):
    model.train()
    data = model.module.data_preprocessor(batch(), True)
    for _ in range(3):
        model.module.parse_losses(model(**data, mode='loss'))[0].backward()


@pytest.mark.usefixtures('process_group')
def test_distributed_models_are_unwrapped_and_miss_no_gradient(monkeypatch):
    schedules = dict(loss_ce=dict(type='constant', value=0))
    arguments = dict(auxiliary=head_config(CE))
    model = MMDistributedDataParallel(build_model(DICE, **arguments))
    Stage(model, LossScheduleHook(schedules)).at(0)
    distributed_steps(model)
    assert model.module.backbone.conv.weight.grad.any()
    # The zero's place in the graph is what DDP asks for: without it the next step stops.
    monkeypatch.setattr(loss_schedule, 'zero_loss', lambda *args, **kwargs: torch.zeros(()))
    model = MMDistributedDataParallel(build_model(DICE, **arguments))
    Stage(model, LossScheduleHook(schedules)).at(0)
    with pytest.raises(RuntimeError, match='Expected to have finished reduction'):
        distributed_steps(model)


def stock_hooks():
    return [dict(type='LossScheduleHook', schedules=DICE_TO_CE)]


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    model = model_config(CE, DICE)
    make_runner(tmp_path / 'whole', 'whole', model, stock_hooks()).train()
    with pytest.raises(InterruptedError):
        make_runner(
            tmp_path / 'parts', 'first', model, [*stock_hooks(), Interrupt(after=4)]
        ).train()
    first = scalars(tmp_path / 'parts')
    assert [row['iter'] for row in first] == [1, 2, 3, 4]
    for path in (tmp_path / 'parts').glob('*/vis_data/scalars.json'):
        path.unlink()
    make_runner(tmp_path / 'parts', 'second', model, stock_hooks(), resume=True).train()
    second = scalars(tmp_path / 'parts')
    assert [row['iter'] for row in second] == [5, 6, 7, 8, 9, 10]
    whole = scalars(tmp_path / 'whole')
    assert without_clock(first + second) == without_clock(whole)
    for row in whole:
        w_ce = expected_ce(row['iter'] - 1)
        assert row['weight/ce'] == pytest.approx(w_ce)
        assert row['weight/dice'] == pytest.approx(1 - w_ce)
        assert row['loss'] == pytest.approx(row['decode.loss_ce'] + row['decode.loss_dice'])
        assert (row['decode.loss_ce'] == 0) == (w_ce == 0)
        assert (row['decode.loss_dice'] == 0) == (w_ce == 1)


class Weights(Hook):
    """The weight of the cross entropy in each iteration."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(losses_named(runner.model.module, 'loss_ce')[0].loss_weight)


def scheduled_training(rank, folder):
    """Weights during a run on two ranks, and the parameters at its end."""
    weights = Weights()
    runner = make_runner(
        folder,
        f'rank {rank}',
        model_config(CE, DICE),
        [*stock_hooks(), weights],
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None)),
    )
    return weights.seen, list(runner.train().parameters())


def test_ranks_have_the_same_weights_and_parameters(tmp_path):
    (first, here), (second, there) = run_ranks(scheduled_training, 2, tmp_path)
    assert first == second == pytest.approx([expected_ce(step) for step in range(10)])
    assert all(torch.equal(*pair) for pair in zip(here, there, strict=True))


def test_epochs_count_their_iterations_and_tensorboard_gets_the_weights(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    make_runner(
        tmp_path,
        'epochs',
        model_config(CE, DICE),
        stock_hooks(),
        max_iters=20,
        by_epoch=True,
        backends=['TensorboardVisBackend'],
    ).train()
    expected = [expected_ce(step, 20) for step in range(20)]
    assert [row['weight/ce'] for row in scalars(tmp_path)] == pytest.approx(expected)
    events = EventAccumulator(str(next(tmp_path.glob('*/vis_data'))))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars('weight/ce')]
    assert written == [(step + 1, pytest.approx(value)) for step, value in enumerate(expected)]


def test_a_mistake_stops_the_runner_before_the_first_iteration(tmp_path):
    steps = []

    class Count(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            steps.append(batch_idx)

    hooks = [dict(type='LossScheduleHook', schedules=dict(loss_focal=dict(type='linear'))), Count()]
    with pytest.raises(ValueError, match="no loss is named 'loss_focal'; the model has 'loss_ce'"):
        make_runner(tmp_path, 'mistake', model_config(CE), hooks).train()
    assert steps == []


COMPOSITES = [
    'dlnce',
    'dlace',
    'wdlnce',
    'wdlace',
    'dlnwce',
    'dlawce',
    'wdlnwce',
    'wdlawce',
    'dlce',
    'wdlce',
    'dlwce',
    'wdlwce',
    'flnce',
    'flace',
]


def paper_weight(schedule, share):
    """Equations 5 and 6 at a share of the run, with the positions of section 5."""
    if schedule == 'n':
        return max(0, min(1, (share - 0.3) / 0.6))
    if schedule == 'a':
        turn = torch.tensor(max(0, min(1, (share - 0.5) / 0.4))) * torch.pi / 2
        return max(0, 1 - share / 0.5) + 1 - torch.cos(turn).item()
    return 0.5


@pytest.mark.parametrize('name', COMPOSITES)
def test_composites_are_those_of_the_paper(name, repository):
    config = Config.fromfile(repository / f'configs/_base_/losses/{name}.py')
    w_first, first, schedule, w_ce = re.fullmatch('(w?)(dl|fl)([na]?)(w?)ce', name).groups()
    losses = [dict(loss) for loss in config.loss_decode]
    for loss, weighted in zip(losses, (w_first, w_ce), strict=True):
        assert loss.get('class_weight') == (
            dict(type='inverse_frequency', statistics='auto') if weighted else None
        )
        loss['class_weight'] = [1.0] * NUM_CLASSES if weighted else None
    assert losses[0]['type'] == dict(dl='SoftDiceLoss', fl='SoftmaxFocalLoss')[first]
    assert losses[1]['type'] == 'WeightedCrossEntropyLoss'
    model = build_model(*losses, auxiliary=head_config(CE))
    hooks = [HOOKS.build(hook) for hook in config.get('custom_hooks', [])]
    assert len(hooks) == bool(schedule)
    stage = Stage(model, *hooks, max_iters=40)
    loss_names = [loss.loss_name for loss in model.decode_head.loss_decode]
    for step in range(40):
        stage.at(step)
        weight = paper_weight(schedule, step / 40)
        first_loss, last_loss = model.decode_head.loss_decode
        assert last_loss.loss_weight == pytest.approx(weight, abs=1e-6)
        assert first_loss.loss_weight == pytest.approx(1 - weight, abs=1e-6)
    assert losses_named(model, loss_names[1])[0].loss_weight == pytest.approx(weight, abs=1e-6)
    assert model.auxiliary_head.loss_decode.loss_weight == 1.0
    losses = losses_of_a_batch(model)
    assert (losses[f'decode.{loss_names[0]}'] == 0) == bool(schedule)
