"""A worker by itself: the processes it joins, the decisions it scores."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_balance.experiments.collection import read_scores
from mmseg_balance.experiments.results import write_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen import worker
from mmseg_balance.experiments.screen.evaluation import Scorer
from mmseg_balance.metrics.confusion_file import load_confusions


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm'])
def test_processes_with_gpus_join_before_the_network_is_on_a_device(
    tmp_path, monkeypatch, launcher
):
    """They once met through Gloo with one card for all, and Slurm was refused."""
    done = []
    monkeypatch.setattr(worker, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(worker, 'init_dist', lambda kind, **how: done.append((kind, how)))
    monkeypatch.setattr(worker, 'join_processes_on_cpu', lambda kind: done.append('gloo'))
    monkeypatch.setattr(worker, 'load_frozen', lambda *_: (done.append('network'), {}))
    config = Config(
        dict(env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60)), train_cfg=dict(max_iters=1))
    )
    config.dump(str(tmp_path / 'base.py'))
    content = dict(config=str(tmp_path / 'base.py'), work_dir=str(tmp_path), checkpoint='c.pth')
    write_json(tmp_path / 'pass.json', {**content, 'runs': [], 'hashes': []})
    worker.Pass(tmp_path, launcher)
    assert done == [(launcher, dict(backend='nccl', timeout=60)), 'network']


def scored(folder, labels, rule):
    """The scorer of one image, whose one channel is sure of the upper half."""
    upper = torch.zeros(1, 8, 8, dtype=torch.long)
    upper[:, :4] = 1
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=labels),
        pred_sem_seg=PixelData(data=upper),
        seg_logits=PixelData(data=torch.where(upper == 1, 12.0, -12.0).sigmoid()),
    )
    sample.set_metainfo(dict(img_path='a.png', seg_map_path='a.png'))
    meta = dict(classes=('ground', 'vessel'), palette=[[0, 0, 0], [9, 9, 9]])
    scorer = Scorer(RunFolder(folder), 'test', ['argmax', rule], {}, meta)
    scorer.start(SimpleNamespace(dataset=[sample]))
    scorer.add({}, [sample])
    scorer.finish(1)
    return scorer


@pytest.mark.parametrize('rule', ['iou', 'dice'])
def test_a_rule_takes_the_sigmoid_of_one_channel_for_a_probability(tmp_path, rule):
    """As a logit every sigmoid is positive: all pixels were once foreground."""
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, :4] = 1
    scorer = scored(tmp_path, labels, rule)
    confusions, _ = load_confusions(scorer.folders[rule] / 'confusions.npz')
    assert confusions.sum(0).tolist() == [[32, 0], [0, 32]]


def test_undefined_scores_of_a_rule_are_null(tmp_path):
    scorer = scored(tmp_path, torch.full((1, 8, 8), 255), 'iou')
    found = read_scores(scorer.folders['iou'])['scores']
    assert [found[name] for name in ('cal', 'acc', 'S_acc', 'S_rec')] == [None] * 4
