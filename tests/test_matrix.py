"""Loops, wrappers, samplers, statistics, data sets and workers: every pair of settings trains.

Three iterations with validation, then two more after a resume. A row of the table is one training;
``allpairs`` chooses the rows so that every pair of values is in one of them.
"""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

import math
from copy import deepcopy

import pytest
from allpairspy import AllPairs
from mmengine.runner import Runner

from mmseg_balance.statistics import ClassStatistics, build_training_set
from tests.support.tiny_run import train
from tools.bad_inputs import config, write_data

VALUES = {
    'loop': ['IterBasedTrainLoop', 'EpochBasedTrainLoop', 'FastResumeTrainLoop'],
    'extra': ['plain', 'ema', 'accumulation', 'amp', 'compile'],
    'sampler': ['infinite', 'balance_batch', 'performance', 'repeat_factor', 'rare_class'],
    'statistics': ['auto', 'file'],
    'data': ['plain', 'concat', 'repeat', 'mix'],
    'workers': [0, 2],
}
SAMPLERS = {
    'infinite': dict(type='InfiniteSampler', shuffle=True),
    'performance': dict(type='ClassPerformanceSampler'),
    'repeat_factor': dict(type='RepeatFactorSampler', threshold=0.5),
    'rare_class': dict(type='RareClassSampler', temperature=0.1),
}


def possible(row: list) -> bool:
    """MMEngine's ``InfiniteSampler`` never ends, so an epoch of it does not either."""
    return len(row) < 3 or (row[0], row[2]) != ('EpochBasedTrainLoop', 'infinite')


ROWS = [tuple(row) for row in AllPairs(list(VALUES.values()), filter_func=possible)]
# With a filter allpairs leaves some pairs out.
ROWS += [
    ('IterBasedTrainLoop', 'plain', 'balance_batch', 'auto', 'mix', 0),
    ('FastResumeTrainLoop', 'plain', 'rare_class', 'auto', 'mix', 2),
    ('EpochBasedTrainLoop', 'ema', 'repeat_factor', 'file', 'mix', 0),
    ('IterBasedTrainLoop', 'accumulation', 'infinite', 'auto', 'mix', 2),
    ('FastResumeTrainLoop', 'amp', 'infinite', 'file', 'plain', 0),
    ('IterBasedTrainLoop', 'compile', 'performance', 'auto', 'plain', 0),
]


def test_every_possible_pair_of_settings_is_in_a_row():
    names = list(VALUES)
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            seen = {(row[first], row[second]) for row in ROWS}
            wanted = len(VALUES[names[first]]) * len(VALUES[names[second]])
            wanted -= (names[first], names[second]) == ('loop', 'sampler')
            assert len(seen) == wanted, (names[first], names[second])


def wrapped(dataset: dict, kind: str) -> dict:
    """The data set as a config may wrap it."""
    if kind == 'concat':
        return dict(type='ConcatDataset', datasets=[dataset, deepcopy(dataset)])
    if kind == 'repeat':
        return dict(type='RepeatDataset', dataset=dataset, times=2)
    if kind == 'mix':
        load, pack = dataset['pipeline'][:-1], dataset['pipeline'][-1]
        mosaic = dict(type='RandomMosaic', prob=1.0, img_scale=(32, 48))
        return dict(
            type='MultiImageMixDataset',
            dataset={**dataset, 'pipeline': load},
            pipeline=[mosaic, dict(type='Resize', scale=(48, 32)), pack],
        )
    return dataset


def make_config(tmp_path, loop, extra, sampler, statistics, data, workers):
    write_data(tmp_path / 'data')
    cfg = config(tmp_path / 'data', tmp_path / 'run', [])
    dataset = wrapped(cfg.train_dataloader.dataset.to_dict(), data)
    # One stage is enough, and four times as fast to compile.
    stage = dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    cfg.model.backbone.update(stage)
    cfg.model.decode_head.update(in_channels=4, in_index=0)
    loader = dict(dataset=dataset, num_workers=workers, batch_size=2)
    if sampler == 'balance_batch':
        loader['sampler'] = dict(type='DefaultSampler', shuffle=True)
        loader['batch_sampler'] = dict(type='BalanceBatchSampler', min_classes=2)
    else:
        loader['sampler'] = dict(SAMPLERS[sampler])
    cfg.train_dataloader = loader
    source = 'auto'
    if statistics == 'file':
        source = str(tmp_path / 'statistics.npz')
        ClassStatistics.scan(build_training_set(cfg), progress=False).save(source)
    if sampler == 'balance_batch':
        cfg.train_dataloader.batch_sampler.statistics = source
    elif sampler != 'infinite':
        cfg.train_dataloader.sampler.statistics = source
    cfg.model.decode_head.loss_decode = dict(
        type='WeightedCrossEntropyLoss',
        class_weight=dict(type='inverse_frequency', statistics=source),
    )
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
    hooks = [dict(type='LabelCheckHook'), dict(type='FiniteLossHook')]
    if sampler == 'performance':
        hooks.append(dict(type='ClassPerformanceHook', interval=2))
    if extra == 'ema':
        hooks.append(dict(type='EMAHook'))
    elif extra == 'accumulation':
        cfg.optim_wrapper.accumulative_counts = 2
    elif extra == 'amp':
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    elif extra == 'compile':
        cfg.compile = dict(backend='eager')
    cfg.custom_hooks = hooks
    cfg.default_hooks = dict(
        checkpoint=dict(type='WholeCheckpointHook', by_epoch=False, interval=1, save_last=True)
    )
    cfg.log_level = 'WARNING'
    return cfg


def run_to(cfg, loop: str, end: int) -> Runner:
    if loop == 'EpochBasedTrainLoop':
        cfg.train_cfg = dict(type=loop, max_epochs=end, val_interval=1)
        cfg.default_hooks.checkpoint.by_epoch = True
    else:
        cfg.train_cfg = dict(type=loop, max_iters=end, val_interval=3)
    return train(cfg, hooks=list(cfg.custom_hooks))


@pytest.mark.parametrize('row', ROWS, ids=lambda row: '-'.join(map(str, row)))
def test_three_iterations_validation_and_resume(tmp_path, monkeypatch, row):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    cfg = make_config(tmp_path, *row)
    first, second = (1, 2) if row[0] == 'EpochBasedTrainLoop' else (3, 5)
    runner = run_to(cfg, row[0], first)
    done = runner.iter
    assert done == (3 if second == 5 else len(runner.train_dataloader))
    assert not math.isnan(runner.message_hub.get_scalar('val/mIoU').current())
    cfg.resume = True
    runner = run_to(cfg, row[0], second)
    assert runner.iter == (5 if second == 5 else 2 * done)
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert all(map(math.isfinite, losses))
