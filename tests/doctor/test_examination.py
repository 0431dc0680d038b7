"""The command as a user meets it: files, output, exit status, fixes that train."""

import json
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_balance.cli import main
from mmseg_balance.doctor import checks, command, examine, examine_config
from mmseg_balance.doctor.findings import error
from mmseg_balance.doctor.fixes import fixed_config
from mmseg_balance.doctor.page import render
from tests.doctor.samples import BROKEN, save_config
from tests.support.tiny_run import train

FIXED = (
    'class-weight-ignored',
    'one-channel-loss',
    'default-loss-1',
    'batch-of-one',
    'sampler-place',
    'reduce-zero-label',
)


def broken_config(name, root, config, folder) -> Path:
    next(one for one in BROKEN if str(one) == name).spoil(root, config)
    return save_config(config, folder)


@pytest.mark.parametrize('name', FIXED)
def test_a_fixed_config_has_no_error_and_trains(name, root, config, tmp_path, capsys):
    path, out = broken_config(name, root, config, tmp_path), tmp_path / 'out' / 'fixed.py'
    main(['doctor', str(path), '--fix', str(out), '--quiet', '--html', str(tmp_path / 'a.html')])
    assert f'wrote {out}' in capsys.readouterr().out.replace('\n', '')
    assert out.read_text().splitlines()[-1] != ''
    again = examine(out, progress=False)
    assert [one for one in again.findings if one.severity != 'advice'] == []
    fixed = Config.fromfile(out)
    assert train(fixed, hooks=fixed.get('custom_hooks')).iter == 3


def test_two_changes_of_one_loss_are_both_made(config, tmp_path):
    config.model.decode_head.loss_decode.update(class_weight=[1.0, 2.0, 3.0, 4.0], loss_name='ce')
    path, out = save_config(config, tmp_path), tmp_path / 'fixed.py'
    out.write_text(fixed_config(config, examine_config(config).findings, path, out)[0])
    loss = Config.fromfile(out).model.decode_head.loss_decode
    assert loss == dict(
        type='WeightedCrossEntropyLoss', class_weight=[1.0, 2.0, 3.0, 4.0], loss_name='loss_ce'
    )


def test_json_page_and_exit_status(root, config, tmp_path, capsys):
    path = broken_config('label-range', root, config, tmp_path)
    files = {kind: tmp_path / 'out' / f'doctor.{kind}' for kind in ('json', 'html')}
    options = [part for kind, file in files.items() for part in (f'--{kind}', str(file))]
    assert main(['doctor', str(path), '--quiet', *options]) == 1
    content = json.loads(files['json'].read_text())
    assert content['counts']['error'] == 2
    for finding in content['findings']:
        assert set(finding) == {'check', 'severity', 'where', 'message', 'change'}
    assert content['findings'][0]['where'] == str(root / 'labels/train/0.png')
    page = files['html'].read_text()
    assert 'label-range' in page
    assert 'data:image/png;base64,' in page
    assert 'label-range' in capsys.readouterr().out


def test_exit_status_of_a_healthy_config(config, tmp_path):
    path = save_config(config, tmp_path)
    assert main(['doctor', str(path), '--quiet', '--html', str(tmp_path / 'a.html')]) == 0


def test_a_pipeline_that_val_and_test_share_is_fixed_in_both(root, config, tmp_path):
    """Only val was: the fixed config could not be tested."""
    path = broken_config('annotations-after-resize', root, config, tmp_path)
    broken = Config.fromfile(path)
    broken.test_dataloader = broken.val_dataloader
    (found,) = [
        one for one in examine_config(broken).findings if one.check == 'annotations-after-resize'
    ]
    assert set(found.fix) == {f'{split}_dataloader.dataset.pipeline' for split in ('val', 'test')}


def test_a_change_does_not_name_the_scope_that_holds_anyway(tmp_path, monkeypatch):
    """MMEngine marks each part of an ``mmseg::`` base with ``_scope_``."""
    monkeypatch.chdir(tmp_path)
    path, out = tmp_path / 'mine.py', tmp_path / 'fixed.py'
    base = 'mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py'
    path.write_text(f'_base_ = {base!r}\ntrain_cfg = dict(max_iters=400)\n')
    examination = examine(path, progress=False)
    (found,) = [one for one in examination.findings if one.check == 'scheduler-length']
    assert "type='PolyLR'" in found.change
    assert '_scope_' not in found.change
    text, _ = fixed_config(examination.reading.config, examination.findings, path, out)
    assert '_scope_' not in text


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--fix', 'mine.py'], '--fix mine.py is the config itself'),  # it was overwritten
        (['--json', 'mine.py'], '--json mine.py is the config itself'),  # likewise
        (['--html', './mine.py'], '--html mine.py is the config itself'),
        (['--fix', 'fixed.yaml'], '--fix fixed.yaml must end in .py$'),
        (['--json', 'notes.txt'], '--json notes.txt must end in .json$'),
        (['--html', 'notes.txt'], '--html notes.txt must end in .html or .htm$'),
        (['--json', '.'], '--json . is a folder'),
        (['--gpus', '0'], '--gpus must be at least 1'),
    ],
)
def test_arguments_that_cannot_be_end_in_a_sentence(
    config, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    before = save_config(config, tmp_path).read_text()
    with pytest.raises(SystemExit, match=f'^error: {message}'):
        main(['doctor', 'mine.py', '--no-labels', '--quiet', *options])
    assert Path('mine.py').read_text() == before


@pytest.mark.parametrize('kind', ['html', 'json'])
def test_a_page_that_cannot_be_written_is_refused_before_the_examination(
    config, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(command, 'examine', None)
    path, file = save_config(config, tmp_path), tmp_path / 'file'
    file.write_text('')
    page = file / f'page.{kind}'
    with pytest.raises(SystemExit, match=f'^error: --{kind} {page} cannot be written, {file}: '):
        main(['doctor', str(path), '--no-labels', '--quiet', f'--{kind}', str(page)])


def test_a_config_that_cannot_be_read(tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text('model = dict(')
    found = examine(path, progress=False)
    assert [one.check for one in found.findings] == ['config-readable']
    assert render(found, str(path))


@pytest.mark.parametrize(
    'content',
    [
        {},
        {'model': None, 'train_dataloader': None},
        {'model': {'decode_head': [None, {'type': 3}]}, 'train_dataloader': {'dataset': 'x'}},
        {'model': {'decode_head': {'loss_decode': [1, 'a']}}, 'custom_hooks': [None]},
        {'val_evaluator': ['x'], 'param_scheduler': 3, 'train_cfg': {'max_iters': 'many'}},
        {'optim_wrapper': [], 'default_hooks': [], 'randomness': None},
    ],
    ids=range(6),
)
def test_strange_configs_end_in_findings(content):
    found = examine_config(Config(content), progress=False)
    assert 'check-failed' not in {one.check for one in found.findings}
    assert render(found, 'strange.py')


def test_an_exception_in_a_check_is_a_finding_and_the_others_go_on(config, monkeypatch):
    def bad_check(reading):
        raise KeyError('sky')

    monkeypatch.setitem(checks.CHECKS, 'Labels and images', (bad_check,))
    config.model.decode_head.num_classes = 3
    found = examine_config(config, progress=False).findings
    assert [one.check for one in found] == ['num-classes', 'check-failed']
    assert "KeyError: 'sky'" in found[1].message


def test_labels_that_are_elsewhere_are_said_not_to_be_read(config, tmp_path):
    for split in ('train', 'val'):
        config[f'{split}_dataloader'].dataset.data_root = str(tmp_path / 'elsewhere')
    examination = examine_config(config, progress=False)
    assert {(one.check, one.severity) for one in examination.findings} == {('not-read', 'advice')}
    assert 'is not on this machine' in examination.findings[0].message
    assert 'label-range' in examination.findings[0].message
    assert not examination.num_errors


def test_no_labels_reads_no_label(config, root):
    for path in root.glob('labels/*/*'):
        path.unlink()
    found = examine_config(config, labels=False, progress=False).findings
    assert {one.check for one in found} == {'not-read'}


class TestLearningRate:
    @pytest.fixture
    def base(self, config, tmp_path):
        path = tmp_path / 'fcn_4xb4-80k_tiny.py'
        config.train_dataloader.batch_size = 4
        config.dump(path)
        return path

    def mine(self, base, text):
        path = base.with_name('mine.py')
        path.write_text(f'_base_ = {base.name!r}\n{text}')
        return path

    def test_of_the_base_with_a_quarter_of_its_batch(self, base):
        found = examine(self.mine(base, ''), labels=False, progress=False).findings
        found = [one for one in found if one.check != 'not-read']
        assert [(one.check, one.severity) for one in found] == [('learning-rate', 'warning')]
        assert '0.01 is for 4 GPUs with 4 images each (fcn_4xb4-80k_tiny.py)' in found[0].message
        assert 'lr=0.0025' in found[0].change

    @pytest.mark.parametrize(
        ('text', 'gpus'),
        [
            ('', 4),
            ('optim_wrapper = dict(optimizer=dict(lr=0.0025))', 1),
            ('auto_scale_lr = dict(enable=True, base_batch_size=16)', 1),
            ('train_dataloader = dict(batch_size=16)', 1),
        ],
    )
    def test_that_fits(self, base, text, gpus):
        found = examine(self.mine(base, text), gpus=gpus, labels=False, progress=False).findings
        assert {one.check for one in found} == {'not-read'}

    def test_of_a_config_as_it_is_named(self, base):
        found = examine(base, labels=False, progress=False).findings
        assert {one.check for one in found} == {'not-read'}


class TestCostOfAScreening:
    @pytest.fixture
    def advice(self, root, config):
        def of(name='what-to-try'):
            next(one for one in BROKEN if str(one) == name).spoil(root, config)
            found = examine_config(config, progress=False).findings
            return next(one.change for one in found if one.check == 'what-to-try')

        return of

    def test_in_steps_of_the_training(self, config, advice):
        config.train_cfg.max_iters = config.param_scheduler[0].end = 3000
        change = advice()
        heads = int(re.search(r'all (\d+) losses', change)[1])
        steps = int(re.search(r'as much as (\d+) steps', change)[1])
        assert f'300 iterations in {-(-heads // 16)} passes' in change
        assert 0 < steps < heads * 300  # less than whole trainings of the same length
        assert ' s a step' not in change

    def test_of_one_iteration(self, config, advice):
        config.train_cfg.max_iters = config.param_scheduler[0].end = 10
        assert '1 iteration in 3 passes' in advice()

    def test_in_seconds_where_a_log_has_step_times(self, config, advice):
        config.train_cfg.max_iters = config.param_scheduler[0].end = 3000
        log = Path(config.work_dir, '20260101_000000', 'vis_data', 'scalars.json')
        log.parent.mkdir(parents=True)
        log.write_text('{"loss": 1.0, "time": 2.0, "step": 1}\n')
        change = advice()
        steps = int(re.search(r'as much as (\d+) steps', change)[1])
        minutes = int(re.search(r'(\d+) min \d+ s at 2 s a step', change)[1])
        assert minutes == pytest.approx(2 * steps / 60, abs=1)

    def test_of_a_training_in_epochs(self, advice):
        change = advice('seen-in-epochs')
        assert '20 iterations in' in change
        assert "train_cfg=dict(type='IterBasedTrainLoop', max_iters=200)" in change


def test_a_second_look_counts_nothing_again(config, monkeypatch):
    examine_config(config, progress=False)

    def count(*arguments, **more):
        raise AssertionError('counted again')

    monkeypatch.setattr('mmseg_balance.doctor.label_survey.count_labels', count)
    assert examine_config(config, progress=False).findings == []


def test_wrong_labels_are_not_kept_as_statistics(root, config, tmp_path):
    next(one for one in BROKEN if str(one) == 'label-range').spoil(root, config)
    examine_config(config, progress=False)
    assert not list(tmp_path.glob('statistics/*'))


def test_findings_are_plain_data():
    found = error('here', 'this', 'that', fix={'a': 1}).of('a-check')
    assert found.to_dict() == dict(
        check='a-check', severity='error', where='here', message='this', change='that'
    )


@pytest.mark.parametrize('folder', ['mmseg_balance/doctor', 'mmseg_balance/datasets', 'configs'])
def test_nothing_names_a_page_that_an_installed_package_lacks(folder, repository):
    files = (repository / folder).rglob('*.py')
    assert [file for file in files if re.search(r'docs/\w+\.md', file.read_text())] == []


def test_the_documentation_lists_every_check(repository, capsys):
    assert main(['doctor', '--list']) == 0
    assert capsys.readouterr().out.strip() in (repository / 'docs' / 'doctor.md').read_text()
