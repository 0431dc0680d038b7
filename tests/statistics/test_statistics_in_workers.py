"""statistics='auto' of a transform, in worker processes that know no run."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import time

import pytest
import torch
from mmengine import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch import nn
from torch.utils.data import DataLoader

from mmseg_balance.datasets import CamVidDataset
from mmseg_balance.statistics import (
    ClassStatistics,
    auto,
    load_statistics,
    statistics_for_transform,
)


class Counter(BaseModel):
    """Counts the images that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.seen += len(inputs)
        return dict(loss=self.weight.sum())


def dataset_config(root) -> dict:
    return dict(
        type='CamVidDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='ClassCenteredCrop', crop_size=(24, 32), statistics='auto', prob=1.0),
            dict(type='PackSegInputs'),
        ],
    )


@pytest.mark.parametrize(
    'train_cfg', [dict(type='IterBasedTrainLoop', max_iters=4), dict(by_epoch=True, max_epochs=2)]
)
@pytest.mark.parametrize('workers', [0, 2])
def test_a_crop_finds_auto_statistics(tiny_camvid, tmp_path, monkeypatch, train_cfg, workers):
    """In IterBasedTrainLoop the workers start before the run's config is in the message hub."""
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    config = dict(
        model=Counter(),
        work_dir=str(tmp_path),
        experiment_name=f'auto_{time.time_ns()}',
        train_dataloader=dict(
            dataset=dataset_config(tiny_camvid),
            batch_size=2,
            num_workers=workers,
            sampler=dict(type='DefaultSampler' if 'by_epoch' in train_cfg else 'InfiniteSampler'),
        ),
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_scope='mmseg',
        log_level='ERROR',
    )
    kept = Config({'train_dataloader': config['train_dataloader']})
    runner = Runner(**config, cfg=kept)
    runner.train()
    assert runner.model.seen == 8
    assert len(list((tmp_path / 'auto').glob('*.npz'))) == 1


class Asking(CamVidDataset):
    """Answers with the class statistics' pixels, and notes each scan in a file."""

    def __getitem__(self, index: int):
        return statistics_for_transform('auto').pixels


def test_one_worker_counts_and_the_others_wait(tiny_camvid, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    scan, log = ClassStatistics.scan, tmp_path / 'scans.txt'

    def noted(*args, **kwargs):
        with open(log, 'a') as file:
            file.write('scan\n')
        time.sleep(0.3)
        return scan(*args, **kwargs)

    monkeypatch.setattr(ClassStatistics, 'scan', noted)
    config = dataset_config(tiny_camvid)
    config.pop('type')
    init_default_scope('mmseg')
    dataset = Asking(**{**config, 'pipeline': [dict(type='LoadAnnotations')]})
    answers = list(DataLoader(dataset, batch_size=None, num_workers=2))
    assert log.read_text() == 'scan\n'
    expected = load_statistics('auto', dataset).pixels.tolist()
    assert [answer.tolist() for answer in answers] == [expected] * 4


def test_a_transform_without_workers_asks_for_statistics_on_one_rank_only(
    tiny_camvid, tmp_path, monkeypatch
):
    """Chance decides which rank asks first; its broadcast met the others' all-reduce of gradients."""
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    monkeypatch.setattr(auto, 'get_world_size', lambda: 2)
    monkeypatch.setattr(auto, 'get_rank', lambda: 1)
    monkeypatch.setattr(
        auto, 'broadcast_object_list', lambda note: pytest.fail('a collective on one rank')
    )
    monkeypatch.setattr(
        auto, '_wait_for', lambda *args: pytest.fail('rank 0 may wait for this one')
    )
    init_default_scope('mmseg')
    dataset = DATASETS.build(dataset_config(tiny_camvid))
    assert statistics_for_transform('auto', dataset).num_images == len(dataset)
