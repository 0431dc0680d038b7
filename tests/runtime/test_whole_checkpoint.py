"""Whatever a kill, a full disk or a spoiled file leaves, a run resumes from what is whole."""

from itertools import pairwise

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import METRICS

from mmseg_balance.hooks import WholeCheckpointHook
from mmseg_balance.runtime import atomic_files
from mmseg_balance.runtime.atomic_files import AtomicBackend, DiskFullError, atomic_write
from mmseg_balance.runtime.integrity import point_to_whole_checkpoint, what_is_damaged
from mmseg_balance.runtime.launching import errors_in_one_sentence


class Line(BaseModel):
    """Learns a number from numbers: what it is depends on every iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def forward(self, inputs, mode='tensor', **kwargs):
        if mode == 'predict':
            return [float(number) for number in inputs]
        return dict(loss=((self.weight - torch.stack(list(inputs)).sum()) ** 2).sum())


@METRICS.register_module()
class Rising(BaseMetric):
    """A score that is better every time."""

    calls = 0

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        type(self).calls += 1
        return dict(mIoU=float(self.calls), loss_val=-float(self.calls))


def runner_of(
    work_dir, iterations=8, resume=False, validate=False, by_epoch=False, **checkpoint
) -> Runner:
    checkpoint = dict(interval=2, by_epoch=by_epoch, max_keep_ckpts=2) | checkpoint
    loader = dict(
        dataset=[dict(inputs=torch.tensor(i / 10)) for i in range(4)],
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    endless = loader | dict(sampler=dict(type='InfiniteSampler', shuffle=True))
    validation = dict(
        val_dataloader=loader, val_cfg=dict(), val_evaluator=dict(type='mmseg.Rising')
    )
    train_cfg = (
        dict(by_epoch=True, max_epochs=iterations // 2)
        if by_epoch
        else dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=2)
    )
    return Runner(
        Line(),
        str(work_dir),
        resume=resume,
        train_dataloader=loader if by_epoch else endless,
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='mmseg.WholeCheckpointHook', **checkpoint)),
        experiment_name=f'whole_{time.time_ns()}',
        randomness=dict(seed=1),
        log_level='WARNING',
        **(validation if validate else {}),
    )


def train(work_dir, *args, **options) -> Runner:
    runner = runner_of(work_dir, *args, **options)
    runner.train()
    return runner


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix in ('.pth', '.partial')}


def log_of(work_dir: Path) -> str:
    return ''.join(path.read_text() for path in work_dir.rglob('*.log'))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    # In the middle of the first weight, which every reader would take for a number.
    weight = torch.load(path, weights_only=False)['state_dict']['weight']
    data[data.index(weight.numpy().tobytes())] ^= 255
    path.write_bytes(data)


@pytest.fixture
def run(tmp_path) -> Path:
    """A training of six iterations, with the checkpoints of the fourth and the sixth."""
    train(tmp_path / 'run', 6)
    assert names(tmp_path / 'run') == {'iter_4.pth', 'iter_6.pth'}
    return tmp_path / 'run'


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        (truncate, 'truncated'),
        (flip, 'checksum'),
        (lambda path: path.write_bytes(b''), 'truncated'),
        (lambda path: path.write_bytes(b'\0' * 4096), 'truncated'),
        (lambda path: path.unlink(), None),
    ],
    ids=['truncated', 'one byte', 'empty', 'zeros', 'missing'],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(run, tmp_path, spoil, reason):
    whole = train(tmp_path / 'whole', 8).model.weight
    spoil(run / 'iter_6.pth')
    resumed = train(run, 8, resume=True)
    log = log_of(run)
    if reason:
        assert f'{run / "iter_6.pth"} is damaged' in log
        assert reason in log
    assert resumed.iter == 8
    assert torch.equal(resumed.model.weight, whole)
    # The damaged one has been replaced.
    assert {name: what_is_damaged(run / name) for name in names(run)} == {
        'iter_6.pth': None,
        'iter_8.pth': None,
    }


def test_where_a_resumed_run_starts(run, monkeypatch):
    started = []
    monkeypatch.setattr(Runner, 'resume', lambda self, path: started.append(Path(path).name))
    truncate(run / 'iter_6.pth')
    train(run, 8, resume=True)
    assert started == ['iter_4.pth']


def test_without_any_whole_checkpoint_the_run_starts_from_scratch_and_says_so(run):
    for name in names(run):
        truncate(run / name)
    train(run, 8, resume=True)
    assert f'there is no whole checkpoint in {run}: the training starts from scratch' in log_of(run)
    assert {what_is_damaged(path) for path in run.glob('*.pth')} == {None}


def test_a_first_start_with_resume_is_silent(tmp_path):
    train(tmp_path / 'run', 2, resume=True)
    assert 'damaged' not in log_of(tmp_path)
    assert 'from scratch' not in log_of(tmp_path)


def test_leftovers_of_a_killed_writer_are_removed(run):
    (run / 'iter_8.pth.0123abcd.partial').write_bytes(b'PK')
    assert point_to_whole_checkpoint(run) == run / 'iter_6.pth'
    assert names(run) == {'iter_4.pth', 'iter_6.pth'}


def test_killed_between_a_checkpoint_and_its_mention(run):
    (run / 'last_checkpoint').write_text(str(run / 'iter_4.pth'))
    later = time.time() + 1
    os.utime(run / 'iter_6.pth', (later, later))
    assert point_to_whole_checkpoint(run) == run / 'iter_6.pth'
    assert (run / 'last_checkpoint').read_text() == str(run / 'iter_6.pth')


def test_killed_while_the_mention_was_written(run):
    (run / 'last_checkpoint').write_text('')
    assert point_to_whole_checkpoint(run) == run / 'iter_6.pth'


def test_a_longer_run_before_in_the_same_folder_is_not_taken_for_this_one(run):
    shutil.copy(run / 'iter_6.pth', run / 'iter_900.pth')
    os.utime(run / 'iter_900.pth', (0, 0))
    assert point_to_whole_checkpoint(run) == run / 'iter_6.pth'
    truncate(run / 'iter_6.pth')
    assert point_to_whole_checkpoint(run) == run / 'iter_4.pth'


def test_a_moved_folder_and_one_on_remote_storage(run, tmp_path):
    moved = run.rename(tmp_path / 'moved')
    assert point_to_whole_checkpoint(moved) == moved / 'iter_6.pth'
    (moved / 'last_checkpoint').write_text('s3://bucket/iter_6.pth')
    assert point_to_whole_checkpoint(moved) is None
    assert (moved / 'last_checkpoint').read_text() == 's3://bucket/iter_6.pth'


def test_a_moved_folder_without_the_checkpoint_that_was_named(run, tmp_path):
    """The one before it was looked for in the old place alone, and the run started from scratch."""
    moved = run.rename(tmp_path / 'moved')
    (moved / 'iter_6.pth').unlink()
    assert point_to_whole_checkpoint(moved) == moved / 'iter_4.pth'


def test_checkpoints_by_epoch(tmp_path):
    train(tmp_path, 6, by_epoch=True, interval=1)
    truncate(tmp_path / 'epoch_3.pth')
    resumed = runner_of(tmp_path, 8, by_epoch=True, interval=1, resume=True)
    resumed.train()
    assert 'epoch_3.pth is damaged' in log_of(tmp_path)
    assert resumed.epoch == 4
    assert names(tmp_path) == {'epoch_3.pth', 'epoch_4.pth'}


@pytest.fixture
def seen(monkeypatch) -> list:
    """For each file that was written, its name and what lay beside it when it was complete."""
    found = []
    put = AtomicBackend.put

    def watched(self, obj, filepath):
        put(self, obj, filepath)
        found.append(
            (
                Path(filepath).name,
                {path.name for path in Path(filepath).parent.glob('*.pth')} - {Path(filepath).name},
            )
        )

    monkeypatch.setattr(AtomicBackend, 'put', watched)
    return found


@pytest.mark.parametrize('keep', [1, 2])
def test_an_outdated_checkpoint_goes_when_the_new_one_is_there(tmp_path, seen, keep):
    train(tmp_path, 8, max_keep_ckpts=keep)
    steps = [2, 4, 6, 8]
    assert seen == [
        (f'iter_{step}.pth', {f'iter_{old}.pth' for old in steps[max(0, i - keep) : i]})
        for i, step in enumerate(steps)
    ]
    assert names(tmp_path) == {f'iter_{step}.pth' for step in steps[-keep:]}


@pytest.mark.parametrize('metrics', [['mIoU'], ['mIoU', 'loss_val']])
def test_the_best_checkpoint_goes_when_a_better_one_is_there(tmp_path, seen, metrics):
    train(tmp_path, 8, validate=True, save_best=metrics, max_keep_ckpts=1)
    for metric in metrics:
        best = [f'best_{metric}_iter_{step}.pth' for step in (2, 4, 6, 8)]
        written = {name: beside for name, beside in seen if name in best}
        assert list(written) == best
        for previous, name in pairwise(best):
            assert previous in written[name]
    assert names(tmp_path) == {'iter_8.pth', *(f'best_{metric}_iter_8.pth' for metric in metrics)}


def test_the_best_checkpoint_survives_a_resume(tmp_path):
    options = dict(validate=True, save_best='mIoU', max_keep_ckpts=1)
    train(tmp_path, 4, **options)
    train(tmp_path, 8, resume=True, **options)
    assert names(tmp_path) == {'iter_8.pth', 'best_mIoU_iter_8.pth'}


def test_killed_before_the_outdated_one_was_removed(tmp_path, monkeypatch):
    def killed(self, runner):
        if len(self.keep_ckpt_ids) > self.max_keep_ckpts:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WholeCheckpointHook, '_remove_outdated', killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, 8)
    assert names(tmp_path) == {'iter_2.pth', 'iter_4.pth', 'iter_6.pth'}
    train(tmp_path, 8, resume=True)
    assert names(tmp_path) == {'iter_6.pth', 'iter_8.pth'}


def test_validation_alone_needs_no_training(tmp_path):
    assert runner_of(tmp_path, validate=True).val()


def test_all_checkpoints_are_kept_if_asked(tmp_path):
    train(tmp_path, 6, max_keep_ckpts=-1)
    assert names(tmp_path) == {'iter_2.pth', 'iter_4.pth', 'iter_6.pth'}


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run_in_one_sentence(tmp_path, monkeypatch, number):
    def put_on_a_full_disk(self, obj, path):
        with atomic_write(path) as file:
            file.write(obj[:100])
            if 'iter_6' in path:
                raise OSError(number, os.strerror(number))
            file.write(obj[100:])

    whole = train(tmp_path / 'whole', 8).model.weight
    run = tmp_path / 'run'
    runner = runner_of(run, 8, max_keep_ckpts=1)
    with monkeypatch.context() as patch:
        patch.setattr(AtomicBackend, 'put', put_on_a_full_disk)
        with (
            pytest.raises(SystemExit, match=r'the disk is full and \S*/iter_6.pth was not written'),
            errors_in_one_sentence(),
        ):
            runner.train()
    assert names(run) == {'iter_4.pth'}
    assert what_is_damaged(run / 'iter_4.pth') is None
    resumed = train(run, 8, max_keep_ckpts=1, resume=True)
    assert torch.equal(resumed.model.weight, whole)


def test_other_errors_of_the_disk_keep_their_names():
    with pytest.raises(PermissionError), atomic_files.explain_full_disk('a'):
        raise PermissionError(errno.EACCES, 'no')
    with pytest.raises(DiskFullError) as caught, atomic_files.explain_full_disk('a'):
        raise OSError(errno.ENOSPC, 'full')
    assert str(caught.value).startswith('the disk is full and a was not written')


def test_a_flipped_bit_is_found_wherever_it_matters(run, tmp_path):
    """Either the damage is found or the file still holds what was saved."""
    path = run / 'iter_6.pth'
    data = path.read_bytes()
    saved = torch.load(path, weights_only=False)
    bad = tmp_path / 'bad.pth'
    found = 0
    rng = np.random.default_rng(0)
    for place in rng.integers(len(data), size=300):
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << int(rng.integers(8))
        bad.write_bytes(spoiled)
        if what_is_damaged(bad) is not None:
            found += 1
            continue
        loaded = torch.load(bad, weights_only=False)
        assert torch.equal(loaded['state_dict']['weight'], saved['state_dict']['weight'])
        assert loaded['meta']['iter'] == saved['meta']['iter']
    assert found > 100


def test_what_counts_as_whole(tmp_path):
    legacy = tmp_path / 'legacy.pth'
    torch.save({}, legacy, _use_new_zipfile_serialization=False)
    assert what_is_damaged(legacy) is None
    assert what_is_damaged(tmp_path) is None  # a folder of shards
    assert what_is_damaged(tmp_path / 'none.pth') == 'there is no such file'
