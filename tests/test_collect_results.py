"""Finished trainings are scored on dev and test once, and kept with all that a reader needs."""

import copy
import json
import shutil
from hashlib import sha256

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import MODELS

from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.metrics.confusion_file import load_confusions
from tests.support.tiny_screen import screen_config
from tools import collect_results
from tools.evidence import publishing, trainings
from tools.evidence.store import Study

LOSSES = {'ce': 'CrossEntropyLoss', 'recall': 'RecallLoss'}


def write_training(root, method, seed, *, last=40, logged=None, **changes):
    """What a training leaves, without the training: its weights are random."""
    cfg = screen_config(root, **changes)
    cfg.model.decode_head.loss_decode = dict(type=LOSSES[method])
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.val_dataloader.dataset.indices = 4
    cfg.randomness = dict(seed=seed)
    folder = root / method / f'seed{seed}'
    (folder / '20260101_000000' / 'vis_data').mkdir(parents=True)
    rows = [{'loss': 1.0, 'time': 0.5, 'step': step} for step in (20, 40)]
    rows += [{'mIoU': logged, 'step': 40}] if logged is not None else []
    scalars = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    scalars.write_text('\n'.join(map(json.dumps, rows)))
    (folder / 'jobs.log').write_text('start commit=0123456789abcdef seed=0\n')
    cfg.dump(str(folder / 'tiny.py'))
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save({'meta': {}, 'state_dict': model.state_dict()}, folder / f'iter_{last}.pth')
    (folder / 'last_checkpoint').write_text(str(folder / f'iter_{last}.pth'))
    return folder


@pytest.fixture
def collect(tmp_path):
    def run(*methods, show=True):
        more = [method for method in methods if method.startswith('--')]
        given = [f'{method}={tmp_path / method}' for method in methods if method not in more]
        hide = ['--show-as', f'{tmp_path}=work_dirs'] if show else []
        return collect_results.main(
            [
                'tiny',
                '--trainings',
                *given,
                '--work-dir',
                str(tmp_path / 'work'),
                '--out',
                str(tmp_path / 'out'),
                *hide,
                *more,
            ]
        )

    return run


@pytest.fixture
def four(tmp_path):
    return {(m, s): write_training(tmp_path, m, s) for m in LOSSES for s in (0, 1)}


def test_trainings_are_kept_with_scores_matrices_and_where_they_come_from(four, collect, tmp_path):
    assert collect('ce', 'recall') == 0
    content = json.loads((tmp_path / 'out' / 'tiny.json').read_text())
    runs = content['runs']
    assert {(r['method'], r['seed'], r['split']) for r in runs} == {
        (method, seed, split) for method, seed in four for split in ('dev', 'test')
    }
    for run in runs:
        confusions, _ = load_confusions(tmp_path / 'out' / run['confusion'])
        assert len(confusions) == (4 if run['split'] == 'dev' else 6)
        weights = (four[run['method'], run['seed']] / 'iter_40.pth').read_bytes()
        assert run['sha256'] == sha256(weights).hexdigest()
        assert run['recipe'] == 'configs/tiny.py'
        assert run['seconds']['train'] == 20
    assert content['commit'] == '0123456'
    assert content['verb'] == 'train'
    assert str(tmp_path) not in json.dumps(content)
    study = Study('tiny', content)
    assert study.row('recall', 'mIoU')['seeds'] == 2
    assert study.row('recall', 'cal', 'dev')['low'] is not None


def test_scores_are_those_of_mmsegmentation_s_own_test(four, collect, tmp_path):
    assert collect('ce') == 0
    runs = json.loads((tmp_path / 'out' / 'tiny.json').read_text())['runs']
    (found,) = [r['scores']['mIoU'] for r in runs if (r['seed'], r['split']) == (1, 'dev')]
    cfg = Config.fromfile(str(four['ce', 1] / 'tiny.py'))
    cfg.load_from, cfg.work_dir = str(four['ce', 1] / 'iter_40.pth'), str(tmp_path / 'plain')
    cfg.test_dataloader, cfg.log_level = cfg.val_dataloader, 'ERROR'
    cfg.experiment_name = 'plain_test'
    assert 100 * found == pytest.approx(Runner.from_cfg(cfg).test()['mIoU'], abs=0.006)


def test_what_was_scored_is_not_scored_again(four, collect, monkeypatch, tmp_path):
    assert collect('ce', 'recall') == 0
    scored = []
    original = trainings._score_splits
    monkeypatch.setattr(
        trainings, '_score_splits', lambda t, *rest: (scored.append(t.folder), original(t, *rest))
    )
    assert collect('ce', 'recall') == 0
    assert scored == []
    changed = torch.load(four['recall', 1] / 'iter_40.pth', weights_only=True)
    changed['state_dict']['decode_head.conv_seg.bias'] += 1
    torch.save(changed, four['recall', 1] / 'iter_40.pth')
    assert collect('ce', 'recall') == 0
    assert scored == [four['recall', 1]]


def test_another_split_is_one_of_the_test_data_set(repository):
    config = Config.fromfile(repository / 'configs' / 'deeplabv3_ce_camvid_dev_small.py')
    found = {
        split: loader.dataset.split
        for split, (loader, _) in trainings._splits(config, ['official_val']).items()
    }
    assert found == {'dev': 'dev', 'test': 'test', 'official_val': 'official_val'}
    assert config.test_dataloader.dataset.split == 'test'


def test_another_split_is_scored_when_it_is_asked_for(four, collect, monkeypatch, tmp_path):
    assert collect('ce') == 0
    content = json.loads((tmp_path / 'out' / 'tiny.json').read_text())
    before = {run['seed']: run['seconds']['test'] for run in content['runs']}
    original = trainings._splits

    def splits(config, also=()):
        found = original(config)
        return found | dict.fromkeys(also, found['dev'])

    monkeypatch.setattr(trainings, '_splits', splits)
    assert collect('ce', '--also=again') == 0
    runs = json.loads((tmp_path / 'out' / 'tiny.json').read_text())['runs']
    scores = {(run['split'], run['seed']): run['scores']['mIoU'] for run in runs}
    assert scores.keys() == {(split, seed) for split in ('dev', 'test', 'again') for seed in (0, 1)}
    assert scores['again', 0] == scores['dev', 0]
    assert all(run['seconds']['test'] > before[run['seed']] for run in runs)


def test_an_unfinished_training_is_left_out(tmp_path, collect, capsys):
    write_training(tmp_path, 'ce', 0)
    write_training(tmp_path, 'ce', 1, last=20)
    (tmp_path / 'ce' / 'seed2').mkdir()
    assert collect('ce') == 0
    said = capsys.readouterr().out
    assert 'seed1 is not at iteration 40' in said
    assert 'seed2 has no config' in said
    runs = json.loads((tmp_path / 'out' / 'tiny.json').read_text())['runs']
    assert {run['seed'] for run in runs} == {0}


def test_trainings_that_differ_in_more_than_the_loss_are_refused(tmp_path, collect, capsys):
    write_training(tmp_path, 'ce', 0)
    write_training(tmp_path, 'recall', 0, **{'optim_wrapper.optimizer.lr': 0.5})
    assert collect('ce', 'recall') == 2
    assert 'differ in optim_wrapper' in capsys.readouterr().err


def test_a_log_that_contradicts_the_score_is_refused(tmp_path, collect, capsys):
    write_training(tmp_path, 'ce', 0, logged=99.0)
    assert collect('ce') == 2
    assert 'the log of the training has 99.00' in capsys.readouterr().err


def test_a_log_contradicts_no_score_that_there_is_not(tmp_path):
    """NaN is null in the JSON, and 100 times null was a TypeError."""
    folder = RunFolder(tmp_path)
    folder.scores('dev').mkdir(parents=True)
    (folder.scores('dev') / 'imbalance.json').write_text('{"scores": {"mIoU": null}}')
    trainings._check_log(folder, [{'mIoU': 40.0, 'step': 40}])


def test_a_path_of_this_machine_is_refused(tmp_path, collect, capsys):
    write_training(tmp_path, 'ce', 0)
    assert collect('ce', show=False) == 2
    assert 'is a path of this machine' in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'tiny.json').exists()


def test_large_matrices_stay_where_they_are(four, collect, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publishing, 'FILE_LIMIT', 100)
    assert collect('ce') == 0
    assert 'not kept' in capsys.readouterr().out
    runs = json.loads((tmp_path / 'out' / 'tiny.json').read_text())['runs']
    assert all((tmp_path / 'work' / run['confusion']).is_file() for run in runs)
    assert not (tmp_path / 'out' / 'confusions').exists()


def published(tmp_path):
    return json.loads((tmp_path / 'out' / 'tiny.json').read_text())


def test_a_seed_joins_what_was_published_when_the_checkpoints_are_gone(tmp_path, collect):
    for seed in (0, 1):
        for method in LOSSES:
            write_training(tmp_path, method, seed)
    assert collect('ce', 'recall') == 0
    whole = published(tmp_path)

    for gone in ('work', 'out'):
        shutil.rmtree(tmp_path / gone)
    shutil.move(tmp_path / 'recall' / 'seed1', tmp_path / 'later')
    assert collect('ce', 'recall') == 0
    assert not any(row['seeds'] == 2 for row in published(tmp_path)['differences'])
    for gone in ('work', 'ce', 'recall'):
        shutil.rmtree(tmp_path / gone)
    shutil.move(tmp_path / 'later', tmp_path / 'recall' / 'seed1')
    assert collect('recall', '--add') == 0

    joined = published(tmp_path)
    for key in ('classes', 'groups', 'setting', 'commit'):
        assert joined[key] == whole[key], key
    for first, second in zip(whole['runs'], joined['runs'], strict=True):
        assert second | {'seconds': 0} == first | {'seconds': 0}
    for first, second in zip(whole['differences'], joined['differences'], strict=True):
        if first['groups']:  # from the matrices, so exactly
            assert second == first
        else:  # from scores that were published with five digits
            assert second['mean'] == pytest.approx(first['mean'], abs=2e-5)
            assert (second['score'], second['seeds']) == (first['score'], first['seeds'])
    assert joined['recommended']['baseline'] == 'ce'
    assert joined['command'].count('collect_results tiny') == 2
    assert collect('recall', '--add') == 0  # again: nothing twice
    assert published(tmp_path)['runs'] == joined['runs']
    assert published(tmp_path)['command'] == joined['command']
    assert Study('tiny', joined).row('recall', 'mIoU')['seeds'] == 2


def test_a_training_replaces_its_published_run(tmp_path, collect):
    write_training(tmp_path, 'ce', 0)
    write_training(tmp_path, 'recall', 0)
    assert collect('ce', 'recall') == 0
    weights = tmp_path / 'recall' / 'seed0' / 'iter_40.pth'
    changed = torch.load(weights, weights_only=True)
    changed['state_dict']['decode_head.conv_seg.bias'] += 1
    torch.save(changed, weights)
    shutil.rmtree(tmp_path / 'work')
    assert collect('recall', '--add') == 0
    found = [r['sha256'] for r in published(tmp_path)['runs'] if r['method'] == 'recall']
    assert found == [sha256(weights.read_bytes()).hexdigest()] * 2  # dev and test


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda c: c['setting'].update(length='7 iterations'), "length there '7 iterations'"),
        (lambda c: c['environment'].update(torch='1.0'), "torch there '1.0'"),
        (lambda c: c['classes'].reverse(), 'classes there'),
        (lambda c: c['runs'][0].update(split='official_val'), 'splits there'),
        (lambda c: c['runs'][0].update(recipe='configs/other.py'), 'recipe of ce there'),
        (lambda c: c['runs'][0].update(confusion='confusions/gone.npz'), 'were not kept'),
    ],
    ids=['setting', 'version', 'classes', 'splits', 'recipe', 'matrices'],
)
def test_nothing_joins_runs_of_another_kind(tmp_path, collect, capsys, change, said):
    write_training(tmp_path, 'ce', 0)
    assert collect('ce') == 0
    content = published(tmp_path)
    change(content)
    (tmp_path / 'out' / 'tiny.json').write_text(json.dumps(content))
    shutil.rmtree(tmp_path / 'work')
    shutil.move(tmp_path / 'ce', tmp_path / 'before')
    write_training(tmp_path, 'ce', 1)
    assert collect('ce', '--add') == 2
    assert said in capsys.readouterr().err
    assert published(tmp_path) == content


def test_nothing_joins_what_was_never_published(tmp_path, collect, capsys):
    write_training(tmp_path, 'ce', 0)
    assert collect('ce', '--add') == 2
    assert 'no readable results to add to' in capsys.readouterr().err
