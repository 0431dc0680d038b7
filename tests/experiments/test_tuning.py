"""--tune: as many settings for every method, tried on dev alone, and the best one reported."""

import argparse
from functools import reduce

import pytest
from mmengine.config import Config

from mmseg_balance.commands import compare as verb
from mmseg_balance.experiments import compare
from mmseg_balance.experiments.plan import Ingredient, Run
from mmseg_balance.experiments.publication import INTERRUPTED
from mmseg_balance.experiments.results import load_results
from mmseg_balance.experiments.tuning import plan_trials, settings_to_try
from tests.experiments.test_execution import StandIns
from tests.support.comparison_samples import write_run
from tests.support.tiny_screen import stop_in_the_last_report, write_screen

TRAIN = """
import pathlib, sys
config, work_dir = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
work_dir.mkdir(parents=True)
with open(config.parent.parent / 'calls.txt', 'a') as calls:
    calls.write('train\\n')
(work_dir / 'iter_2.pth').write_text('')
(work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_2.pth'))
"""
# Cross entropy is best at 0.3 times the learning rate of 0.01, any other loss at 3 times.
TEST = """
import json, pathlib, re, shutil, sys
text = pathlib.Path(sys.argv[1]).read_text()
lr = float(re.search(r'lr=([0-9.e-]+)', text).group(1))
best = 0.003 if "type='CrossEntropyLoss'" in text.split('loss_decode')[1] else 0.03
out = pathlib.Path(re.search(r"out_file=\\s*'([^']+imbalance.json)'", text).group(1)).parent
shutil.copytree(pathlib.Path(__file__).parent / 'scores', out)
found = json.loads((out / 'imbalance.json').read_text())
found['scores']['mIoU'] = 0.5 - abs(lr - best)
(out / 'imbalance.json').write_text(json.dumps(found))
"""


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Runs the verb with stand-ins for trainings and tests; dev is not test."""
    monkeypatch.chdir(tmp_path)
    path, _ = write_screen(tmp_path)
    config = Config.fromfile(path)
    config.test_dataloader.dataset.indices = 4
    config.dump(str(path))
    scripts = tmp_path / 'scripts'
    scripts.mkdir()
    (scripts / 'train.py').write_text(TRAIN)
    (scripts / 'test.py').write_text(TEST)
    write_run(tmp_path / 'sample', 'ce', 0).scores('test').rename(scripts / 'scores')
    monkeypatch.setattr(compare, 'Launcher', lambda kind, gpus: StandIns(scripts))

    def run(*arguments) -> int:
        parser = argparse.ArgumentParser()
        verb.add_arguments(parser)
        given = [path, '--work-dir', 'work', '--images', 0, '--strips', 0, *arguments]
        args = parser.parse_args([str(x) for x in given])
        args.argv = ['compare', *map(str, given)]
        return verb.run(args)

    return run


def test_compare_tries_on_dev_and_reports_the_best(compared, tmp_path):
    given = ('--losses', 'ce', 'recall', '--tune')
    assert compared(*given) == 0
    work = tmp_path / 'work'
    results = load_results(work)
    tried = [(t['method'], t['setting'], t['settings'], t['seed']) for t in results['trials']]
    factors = [{}, {'lr': 0.3}, {'lr': 3.0}]
    assert tried == [(m, i, f, 1000) for m in ('ce', 'recall') for i, f in enumerate(factors)]
    assert all(trial['scores']['mIoU'] > 0.4 for trial in results['trials'])
    assert {path.parent.name for path in work.glob('trials/*/*/scores/*/argmax')} == {'dev'}
    assert {path.parent.name for path in work.glob('runs/*/*/scores/*/argmax')} == {'dev', 'test'}
    best = {'ce': 0.3, 'recall': 3.0}
    assert len(results['runs']) == 2 * 2
    for run in results['runs']:
        assert run['settings'] == {'lr': best[run['method']]}
        config = Config.fromfile(work / run['folder'] / 'config.py')
        assert config.optim_wrapper.optimizer.lr == pytest.approx(0.01 * best[run['method']])
    assert results['setting']['tuned'] == 3


def test_a_second_call_keeps_the_trials(compared, tmp_path):
    given = ('--losses', 'ce', '--tune', 2)
    assert compared(*given) == 0
    calls = (tmp_path / 'work' / 'trials' / 'ce' / 'calls.txt').read_text()
    assert calls == 'train\n' * 2
    assert compared(*given) == 0
    assert (tmp_path / 'work' / 'trials' / 'ce' / 'calls.txt').read_text() == calls


def test_a_report_is_made_again_as_it_was_or_as_asked(compared, tmp_path, capsys):
    """compare ignored what was asked; screen needed checkpoint and data, and named itself."""
    given = ('--losses', 'ce', 'recall', '--seeds', 0, 1, '--tune', 2, '--choose-by', 'acc')
    assert compared(*given) == 0
    assert 'By acc on dev' in capsys.readouterr().out
    work = tmp_path / 'work'
    before = load_results(work)
    for path in (tmp_path / 'tiny.py', tmp_path / 'tiny.pth', tmp_path / 'data'):
        path.rename(path.with_name(f'gone_{path.name}'))
    assert compared('--report-only') == 0
    assert load_results(work) == before
    assert compared('--report-only', '--choose-by', 'mIoU', '--groups', r'subjects:(\d)') == 0
    out = capsys.readouterr().out
    assert 'By mIoU on dev' in out
    assert out.endswith('report: work/report.html\n')
    after = load_results(work)
    assert (after['recommended']['score'], after['setting']['groups']) == ('mIoU', r'subjects:(\d)')
    for key in ('calls', 'environment', 'trials', 'runs'):
        assert after[key] == before[key], key
    changed = {'choose_by', 'groups'}
    for key in after['setting'].keys() - changed:
        assert after['setting'][key] == before['setting'][key], key
    assert compared('--report-only', '--choose-by', 'miou') == 2
    assert compared('--report-only', '--groups', 'subjects:(') == 2
    err = capsys.readouterr().err
    assert "no score 'miou'" in err
    assert '--groups subjects:(' in err


def test_a_second_call_without_tuning_does_not_claim_it(compared, tmp_path):
    """The runs were trained again untuned, and the page said that 3 settings had been tried."""
    table = tmp_path / 'work' / 'table.md'
    assert compared('--losses', 'ce', 'recall', '--tune') == 0
    assert '3 settings tried for each method on dev' in table.read_text()
    assert compared('--losses', 'ce', 'recall') == 0
    results = load_results(tmp_path / 'work')
    assert len(results['trials']) == 6
    assert all(run['settings'] == {} for run in results['runs'])
    assert 'tried' not in table.read_text()


def test_a_call_with_fewer_trials_takes_the_place_of_its_methods_alone(compared, tmp_path):
    assert compared('--losses', 'ce', 'recall', '--tune') == 0
    assert compared('--losses', 'recall', '--tune', 2) == 0
    trials = load_results(tmp_path / 'work')['trials']
    chosen = [(t['method'], t['settings']) for t in trials if t['chosen']]
    assert chosen == [('ce', {'lr': 0.3}), ('recall', {})]
    assert 'Settings tried on dev: ce 3, recall 2' in (tmp_path / 'work/table.md').read_text()


def test_a_stop_in_the_last_report_says_how_to_go_on(compared, monkeypatch, capsys):
    """It ended with a traceback."""
    stop_in_the_last_report(monkeypatch, compare)
    assert compared('--losses', 'ce') == INTERRUPTED
    assert 'the same command goes on from here' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('option', 'number', 'least'),
    [
        ('--gpus', 0, 1),
        ('--images', -1, 0),
        ('--strips', -1, 0),
        ('--jobs', 0, 1),
        ('--iters', 0, 1),
    ],
)
def test_a_number_below_the_least_is_named_at_once(compared, capsys, option, number, least):
    """--gpus 0 was checked after everything else, and its message named no option."""
    assert compared('--losses', 'nonsense', option, number) == 2
    assert capsys.readouterr().err == f'error: {option} {number}: give {least} or more.\n'


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--seeds', 0, -1], '--seeds must be 0 to 4294967295, got -1'),
        (['--tune', '--tune-seed', 2**32], '--tune-seed must be 0 to 4294967295, got 4294967296'),
        (['--launcher', 'none', '--gpus', 4], '--launcher none --gpus 4: none starts one process'),
    ],
    ids=['seeds', 'tune-seed', 'launcher'],
)
def test_seeds_and_launcher_are_checked_before_anything_runs(
    compared, tmp_path, capsys, options, said
):
    """Each run failed with its seed in a process of its own; four processes were one, without a word."""
    assert compared('--losses', 'ce', *options) == 2
    assert capsys.readouterr().err.startswith(f'error: {said}')
    assert not (tmp_path / 'work').exists()


def test_a_missing_config_is_told_in_a_sentence(compared, tmp_path, capsys):
    (tmp_path / 'tiny.py').unlink()
    assert compared('--losses', 'ce') == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert 'tiny.py' in error
    assert error.count('\n') == 1


def without(part: str):
    """Deletes a part of a config by its name."""
    *parents, last = part.split('.')
    return lambda config, data: reduce(lambda node, key: node[key], parents, config).pop(last)


def no_images(config, data):
    for path in data.glob('images/*'):
        path.unlink()


def no_list(config, data):
    config.train_dataloader.dataset.ann_file = 'absent.txt'


def in_a_wrapper(config, data):
    config.model = dict(type='SegTTAModel', module=config.model)


@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (no_images, 'a data set of the config has no image: look at its data_root'),
        (no_list, 'absent.txt does not exist: look at ann_file and data_root'),
        (without('model'), 'has no model: give the config of a training'),
        (without('train_cfg'), 'has no train_cfg: give the config of a training'),
        (without('optim_wrapper'), 'has no optim_wrapper: give the config of a training'),
        (without('optim_wrapper.optimizer.lr'), 'set optim_wrapper.optimizer.lr in '),
        (in_a_wrapper, 'SegTTAModel, has no decode_head'),
    ],
    ids=['images', 'list', 'model', 'train_cfg', 'optim_wrapper', 'lr', 'wrapper'],
)
def test_compare_refuses_in_the_words_of_train(compared, tmp_path, capsys, spoil, said):
    """It ended in tracebacks, or in NumPy's words."""
    path = tmp_path / 'tiny.py'
    config = Config.fromfile(path)
    spoil(config, tmp_path / 'data')
    config.dump(str(path))
    assert compared('--losses', 'ce', '--tune') == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith('error: ')
    assert error.count('\n') == 1


def test_tuning_on_test_is_refused(compared, tmp_path, capsys):
    path = tmp_path / 'tiny.py'
    config = Config.fromfile(path)
    config.test_dataloader.dataset.pop('indices')
    config.dump(str(path))
    assert compared('--losses', 'ce', '--tune') == 2
    assert '--tune needs images to choose by' in capsys.readouterr().err
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize('change', [{'pipeline': []}, {'test_mode': True}], ids=str)
def test_dev_is_test_whatever_their_pipelines(compared, tmp_path, capsys, change):
    """With another pipeline the method was chosen on the test images, and test confirmed it."""
    path = tmp_path / 'tiny.py'
    config = Config.fromfile(path)
    config.test_dataloader.dataset.pop('indices')
    config.test_dataloader.dataset.update(change)
    config.dump(str(path))
    assert compared('--losses', 'ce', 'recall') == 0
    assert 'The config has no val data apart from its test data' in capsys.readouterr().out
    results = load_results(tmp_path / 'work')
    assert {run['split'] for run in results['runs']} == {'test'}
    assert results['recommended'] is None


def test_images_of_dev_that_are_in_test_are_counted(compared, tmp_path, capsys):
    """Four of six dev images were test images, and nothing said so."""
    assert compared('--losses', 'ce', 'recall') == 0
    setting = load_results(tmp_path / 'work')['setting']
    assert (setting['dev_is_test'], setting['dev_images_in_test']) == (False, 4)
    assert 'Val and test data share 4 images' in capsys.readouterr().out


def loss_file(folder, search: str) -> Ingredient:
    path = folder / 'loss.py'
    path.write_text(f'loss_decode = [dict(type="A", p=0)]\nsearch = {search}')
    return Ingredient('loss', path)


def test_settings_are_the_declared_ones_then_learning_rates(tmp_path):
    p, q = 'loss_decode.0.p', 'loss_decode.0.q'
    loss = loss_file(tmp_path, f"{{'{p}': [1, 2], '{q}': [3]}}")
    assert settings_to_try(loss, 3) == [{p: 1, q: 3}, {p: 2, q: 3}, {p: 1, q: 3, 'lr': 0.3}]
    with pytest.raises(ValueError, match='declares 2 settings and --tune tries 1'):
        settings_to_try(loss, 1)


def test_the_seed_of_the_trials_is_not_reported(tmp_path):
    runs = [Run(loss_file(tmp_path, '{}'), Ingredient('config', None), seed) for seed in (0, 1)]
    assert [(run.seed, run.trial) for run in plan_trials(runs, 2, 7)] == [(7, 0), (7, 1)]
    assert len({run.folder for run in [*runs, *plan_trials(runs, 2, 7)]}) == 4
    with pytest.raises(ValueError, match='--tune-seed: 1 is among --seeds'):
        plan_trials(runs, 2, 1)
    assert plan_trials(runs, 0, 1) == []
