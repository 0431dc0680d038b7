"""The config of a run: what is replaced, and that nothing else is."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_balance.experiments.merging import (
    add_measures,
    dev_test,
    fingerprint,
    merge_run,
    prepare_base,
)
from mmseg_balance.experiments.plan import Ingredient, Run
from mmseg_balance.experiments.run_folder import RunFolder

OWN = Ingredient('config', None)
BASE = """
model = dict(decode_head=dict(type='H', loss_decode=dict(type='A')),
             auxiliary_head=dict(type='X', loss_decode=dict(type='A')))
train_dataloader = dict(batch_size=4, sampler=dict(type='S'))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=400, val_interval=100)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
param_scheduler = [dict(type='LinearLR', begin=0, end=40, by_epoch=False),
                   dict(type='PolyLR', begin=40, end=400, by_epoch=False)]
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=200),
                     logger=dict(type='LoggerHook', interval=20))
custom_hooks = [dict(type='Own')]
test_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU', 'mFscore']),
                  dict(type='CalibrationMetric', num_bins=20)]
randomness = dict(seed=7, diff_rank_seed=True)
"""


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def base(write) -> Config:
    return prepare_base(write('base.py', BASE))


@pytest.fixture
def loss(write) -> Ingredient:
    return Ingredient(
        'b',
        write(
            'b.py',
            """
loss_decode = [dict(type='B'), dict(type='C')]
custom_hooks = [dict(type='LossScheduleHook')]
""",
        ),
    )


def test_the_loss_and_its_hooks_are_put_in(base, loss):
    config = merge_run(base, Run(loss, OWN, 5))
    assert config.model.decode_head.loss_decode == [dict(type='B'), dict(type='C')]
    assert [h.type for h in config.custom_hooks] == ['Own', 'LossScheduleHook']
    assert config.randomness == dict(seed=5, diff_rank_seed=True)


def test_nothing_else_changes(base, loss):
    before = base._cfg_dict.to_dict()
    after = merge_run(base, Run(loss, OWN, 5))._cfg_dict.to_dict()
    assert {k for k in after if after[k] != before.get(k)} == {
        'model',
        'custom_hooks',
        'randomness',
        'default_hooks',
    }
    assert after['model']['auxiliary_head'] == before['model']['auxiliary_head']
    assert after['default_hooks']['checkpoint'] == dict(
        type='CheckpointHook', interval=200, max_keep_ckpts=1
    )
    assert base._cfg_dict.to_dict() == before, 'the base itself was changed'


def test_all_heads_of_a_cascade_get_the_loss(write, loss):
    path = write('cascade.py', BASE + 'model["decode_head"] = [dict(type="H"), dict(type="I")]\n')
    config = merge_run(prepare_base(path), Run(loss, OWN, 0))
    assert [len(head.loss_decode) for head in config.model.decode_head] == [2, 2]


@pytest.mark.parametrize(
    ('text', 'key', 'expected'),
    [
        ("sampler = dict(type='P')", 'sampler', dict(type='P')),
        ("batch_sampler = dict(type='Q')", 'batch_sampler', dict(type='Q')),
    ],
)
def test_the_sampler_is_put_in(base, loss, write, text, key, expected):
    sampler = Ingredient('s', write('s.py', text + '\ncustom_hooks = [dict(type="SamplerHook")]'))
    config = merge_run(base, Run(loss, sampler, 0))
    assert config.train_dataloader[key] == expected
    assert config.custom_hooks[-1].type == 'SamplerHook'


def test_the_paste_comes_between_loading_and_the_rest(loss, write):
    base = prepare_base(
        write(
            'data.py',
            BASE
            + """
train_dataloader['dataset'] = dict(
    type='D', pipeline=[dict(type='LoadAnnotations'), dict(type='Crop')])
""",
        )
    )
    text = "sampler = dict(type='S')\npaste = dict(type='RareClassPaste', prob=.5)"
    config = merge_run(base, Run(loss, Ingredient('p', write('p.py', text)), 0))
    assert config.train_dataloader.dataset == dict(
        type='MultiImageMixDataset',
        dataset=dict(type='D', pipeline=[dict(type='LoadAnnotations')]),
        pipeline=[dict(type='RareClassPaste', prob=0.5), dict(type='Crop')],
    )
    assert base.train_dataloader.dataset.type == 'D'


def test_what_served_the_old_loss_and_sampler_leaves_with_them(write):
    base = prepare_base(
        write(
            'scheduled.py',
            BASE
            + """
custom_hooks = [dict(type='LossScheduleHook'), dict(type='ClassPerformanceHook'), dict(type='Own')]
train_dataloader['batch_sampler'] = dict(type='BalanceBatchSampler')
""",
        )
    )
    ce = Ingredient('ce', write('ce.py', "loss_decode = [dict(type='B')]"))
    uniform = Ingredient('uniform', write('uniform.py', "sampler = dict(type='S')"))
    config = merge_run(base, Run(ce, OWN, 0))
    assert [h.type for h in config.custom_hooks] == ['ClassPerformanceHook', 'Own']
    assert 'batch_sampler' in config.train_dataloader
    config = merge_run(base, Run(ce, uniform, 0))
    assert [h.type for h in config.custom_hooks] == ['Own']
    assert 'batch_sampler' not in config.train_dataloader


def test_files_that_set_nothing_are_refused(base, loss, write):
    empty = Ingredient('empty', write('empty.py', 'a = 1'))
    with pytest.raises(ValueError, match='loss_decode must be set to a list of dicts; got None'):
        merge_run(base, Run(empty, OWN, 0))
    with pytest.raises(ValueError, match='sampler or batch_sampler must be set'):
        merge_run(base, Run(loss, empty, 0))


def test_a_shorter_training_keeps_its_shape(write):
    config = prepare_base(write('base.py', BASE), iters=40)
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (40, 10)
    assert [(s.begin, s.end) for s in config.param_scheduler] == [(0, 4), (4, 40)]
    assert config.default_hooks.checkpoint.interval == 20
    assert config.default_hooks.logger.interval == 2


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (dict(type='MultiStepLR', milestones=[200, 300]), dict(milestones=[20, 30])),
        (dict(type='StepLR', step_size=100), dict(step_size=10)),
        (dict(type='OneCycleLR', total_steps=400), dict(total_steps=40)),
        (dict(type='CosineRestartLR', periods=[100, 300]), dict(periods=[10, 30])),
        (dict(type='CosineAnnealingLR', T_max=400), dict(T_max=40)),
        (dict(type='Own', T_0=100), dict(T_0=10)),
    ],
)
def test_a_schedule_of_any_kind_is_shortened(write, given, expected):
    """Steps and restarts once stayed where a full training has them, so they never came."""
    text = f'{BASE}\nparam_scheduler = [dict(by_epoch=False, **{given})]'
    (scheduler,) = prepare_base(write('base.py', text), iters=40).param_scheduler
    assert {key: scheduler[key] for key in expected} == expected
    text = text.replace('by_epoch=False, **', 'by_epoch=True, **')
    (scheduler,) = prepare_base(write('epochs.py', text), iters=40).param_scheduler
    assert {key: scheduler[key] for key in given} == given


def test_iterations_of_an_epoch_config_are_refused(write):
    path = write('epochs.py', f'{BASE}\ntrain_cfg = dict(by_epoch=True, max_epochs=3)')
    with pytest.raises(ValueError, match='counts epochs'):
        prepare_base(path, iters=10)
    with pytest.raises(ValueError, match='--iters 0: give 1 or more'):
        prepare_base(write('base.py', BASE), iters=0)


def test_options_override_the_config(write):
    config = prepare_base(write('base.py', BASE), {'train_dataloader.batch_size': 2})
    assert config.train_dataloader.batch_size == 2


def test_the_measures_write_into_the_run_and_keep_their_arguments(base):
    add_measures(base, RunFolder(Path('run')), ['a.jpg'])
    assert base.test_evaluator == [
        dict(type='IoUMetric', iou_metrics=['mIoU', 'mFscore']),
        dict(
            type='ImbalanceMetric',
            out_file='run/scores/test/argmax/imbalance.json',
            per_image=True,
            save='run/scores/test/argmax/confusions.npz',
        ),
        dict(
            type='CalibrationMetric',
            num_bins=20,
            out_file='run/scores/test/argmax/calibration.json',
        ),
    ]
    assert base.custom_hooks[-1] == dict(
        type='PredictionHook', images=['a.jpg'], out_dir='run/predictions'
    )
    assert 'mmseg_balance' in base.custom_imports.imports


def test_dev_is_scored_like_test_without_predictions(base):
    folder = RunFolder(Path('run'))
    for split, data in (('val', 'dev'), ('test', 'test')):
        base[f'{split}_dataloader'] = dict(dataset=dict(type='D', split=data))
    add_measures(base, folder, [])
    dev = dev_test(base, folder)
    assert dev.test_dataloader.dataset.split == 'dev'
    assert dev.test_evaluator[0]['save'] == 'run/scores/dev/argmax/confusions.npz'
    assert not any(hook['type'] == 'PredictionHook' for hook in dev.custom_hooks)


def test_fingerprints_tell_configs_apart(base, loss):
    def of(**changes) -> str:
        arguments = {'loss': loss, 'sampler': OWN, 'seed': 0, **changes}
        return fingerprint(merge_run(base, Run(**arguments)))

    assert of() == of()
    assert of() != of(seed=1)
    assert len(of()) == 12
    other = prepare_base(base.filename, {'model.decode_head.loss_decode.type': 'Z'})
    longer = prepare_base(base.filename, {'train_cfg.max_iters': 500})
    assert fingerprint(base) != fingerprint(other)
    assert fingerprint(base, without_loss=True) == fingerprint(other, without_loss=True)
    assert fingerprint(base, without_loss=True) != fingerprint(longer, without_loss=True)


def test_settings_change_the_learning_rate_and_every_head(base, write):
    path = write('loss.py', "loss_decode = [dict(type='A', gamma=2.0)]")
    loss = Ingredient('loss', path)
    base.model.decode_head = [base.model.decode_head, dict(type='Other')]
    base.optim_wrapper = dict(optimizer=dict(lr=0.01))
    config = merge_run(base, Run(loss, OWN, 0, {'lr': 3.0, 'loss_decode.0.gamma': 1.0}))
    assert config.optim_wrapper.optimizer.lr == pytest.approx(0.03)
    assert [head.loss_decode[0].gamma for head in config.model.decode_head] == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"search names 'loss_decode.1.gamma', and the head"):
        merge_run(base, Run(loss, OWN, 0, {'loss_decode.1.gamma': 1.0}))
