"""The verb: what is kept over a kill, what fails alone, tuning, and what is refused."""

import json

import numpy as np
import pytest
from mmengine.config import Config

from mmseg_balance.experiments.differences import ROW
from mmseg_balance.experiments.publication import INTERRUPTED
from mmseg_balance.experiments.results import load_results
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen import command, decisions, passes, worker
from mmseg_balance.experiments.screen.evaluation import Scorer
from mmseg_balance.experiments.screen.jobs import group_jobs
from mmseg_balance.metrics.confusion_file import load_confusions
from tests.support.tiny_screen import (
    parse,
    stop_in_the_last_report,
    workers_in_this_process,
    write_screen,
)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workers_in_this_process(monkeypatch)
    config, checkpoint = write_screen(tmp_path)

    def screen(*arguments, work='work', iters=4) -> int:
        given = ['--iters', iters, '--work-dir', tmp_path / work]
        return command.run(parse(config, checkpoint, *given, *arguments))

    return screen


def test_a_stop_says_how_to_go_on(tiny, monkeypatch, capsys):
    def stopped(self, runner, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(worker.PassProgress, 'after_train_iter', stopped)
    assert tiny('--losses', 'ce', iters=6) == INTERRUPTED
    assert 'the same command goes on from here' in capsys.readouterr().out


def test_a_stop_in_the_last_report_says_how_to_go_on(tiny, monkeypatch, capsys):
    """It ended with a traceback."""
    stop_in_the_last_report(monkeypatch, command)
    assert tiny('--losses', 'ce') == INTERRUPTED
    assert 'the same command goes on from here' in capsys.readouterr().out


def test_a_screening_without_tune_after_one_with_it_does_not_claim_it(tiny, tmp_path):
    """The heads were trained again untuned, and the page said that 2 settings had been tried."""
    for name in ('ce', 'other'):
        (tmp_path / f'{name}.py').write_text(
            f"loss_decode = [dict(type='CrossEntropyLoss', loss_weight={len(name)}.0)]"
        )
    assert tiny('--losses', 'ce.py', 'other.py', '--tune', 2) == 0
    path = tmp_path / 'work' / 'results.json'
    results = load_results(tmp_path / 'work')
    assert '2 settings tried' in (tmp_path / 'work' / 'table.md').read_text()
    for trial in results['trials']:  # the second setting is the better one
        trial['chosen'] = trial['setting'] == 1
    path.write_text(json.dumps(results))
    assert tiny('--losses', 'ce.py', 'other.py') == 0
    after = load_results(tmp_path / 'work')
    assert after['trials'] == results['trials']
    assert {tuple(run['settings']) for run in after['runs']} == {()}
    for page in ('table.md', 'report.html'):
        assert 'tried' not in (tmp_path / 'work' / page).read_text()


def test_a_failed_head_is_told_and_the_others_finish(tiny, tmp_path, capsys):
    for name, text in {
        'unbuilt': "loss_decode = [dict(type='LMPLoss', p=0.5)]",
        'nan': "loss_decode = [dict(type='CrossEntropyLoss', loss_weight=float('nan'))]",
    }.items():
        (tmp_path / f'{name}.py').write_text(text)
    assert tiny('--losses', 'ce', 'unbuilt.py', 'nan.py') == 1
    results = load_results(tmp_path / 'work')
    assert {run['method'] for run in results['runs']} == {'ce', 'checkpoint'}
    errors = {run['method']: run['error'] for run in results['unfinished']}
    assert errors.keys() == {'unbuilt', 'nan'}
    assert 'the loss is nan' in errors['nan']
    assert 'FAILED' in capsys.readouterr().out
    page = (tmp_path / 'work' / 'report.html').read_text()
    assert 'the loss is nan' in page


def test_a_pass_whose_heads_all_fail_keeps_their_reasons(tiny, tmp_path, capsys):
    """They were trained again one by one, and "every head has failed" took each reason's place."""
    for name in ('first', 'second'):
        (tmp_path / f'{name}.py').write_text(
            "loss_decode = [dict(type='CrossEntropyLoss', loss_weight=float('nan'))]"
        )
    assert tiny('--losses', 'first.py', 'second.py') == 1
    runs = load_results(tmp_path / 'work')['unfinished']
    assert len(runs) == 2
    assert all('the loss is nan' in run['error'] for run in runs)
    assert 'one by one' not in capsys.readouterr().out


def test_heads_whose_pass_could_not_begin_are_reported_as_failed(tiny, tmp_path, monkeypatch):
    """Their states were an error alone, and the report ended in a KeyError for ever."""

    def full(job, settings, work_dir):
        raise OSError('the disk is full')

    monkeypatch.setattr(passes, '_prepare', full)
    assert tiny('--losses', 'ce') == 1
    errors = {run['method']: run['error'] for run in load_results(tmp_path / 'work')['unfinished']}
    assert errors == dict.fromkeys(('ce', 'checkpoint'), 'OSError: the disk is full')


def test_results_have_the_fixed_schema(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(decisions.DECISIONS, 'never_0', lambda logits: logits[:, 1:].argmax(1) + 1)
    given = ('--losses', 'ce', 'recall', '--seeds', 0, 1, '--decisions', 'argmax', 'never_0')
    assert tiny(*given) == 0
    work = tmp_path / 'work'
    results = json.loads((work / 'results.json').read_text())
    needed = [
        'method',
        'loss',
        'sampler',
        'decision',
        'seed',
        'split',
        'scores',
        'settings',
        'seconds',
        'confusion',
    ]
    assert all(set(needed) <= run.keys() for run in results['runs'])
    seen = {(run['method'], run['seed'], run['split']) for run in results['runs']}
    methods = ('ce', 'recall', 'ce + never_0', 'recall + never_0')
    assert {(m, s, d) for m in methods for s in (0, 1) for d in ('dev', 'test')} <= seen
    for run in results['runs']:
        confusions, names = load_confusions(work / run['confusion'])
        assert confusions.shape == (6, 3, 3)
        assert len(names) == 6
        accuracy = np.trace(confusions.sum(0)) / confusions.sum()
        assert run['scores']['acc'] == pytest.approx(accuracy)
        if run['decision'] == 'never_0':
            assert confusions[:, :, 0].sum() == 0
    assert all(set(ROW) == row.keys() for row in results['differences'])
    against = {(row['method'], row['baseline']) for row in results['differences']}
    assert {('recall', 'ce'), ('recall', 'checkpoint'), ('checkpoint', 'ce')} <= against
    assert results['recommended']['method'] in methods
    assert results['recommended']['score'] == 'mIoU'


def test_a_report_is_made_again_without_checkpoint_and_data(tiny, tmp_path, capsys):
    assert tiny('--losses', 'ce', 'recall', '--seeds', 0, 1) == 0
    said = capsys.readouterr().out
    assert 'By mIoU on dev' in said
    assert f'report: {tmp_path / "work" / "report.html"}' in said
    before = load_results(tmp_path / 'work')
    (tmp_path / 'tiny.pth').unlink()
    (tmp_path / 'data').rename(tmp_path / 'elsewhere')
    assert tiny('--report-only') == 0
    assert load_results(tmp_path / 'work') == before
    assert tiny('--report-only', '--choose-by', 'cal') == 0
    after = load_results(tmp_path / 'work')
    assert after['recommended']['score'] == after['setting']['choose_by'] == 'cal'
    assert (after['calls'], after['environment']) == (before['calls'], before['environment'])


def test_another_decision_rule_needs_no_training(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(decisions.DECISIONS, 'never_0', lambda logits: logits[:, 1:].argmax(1) + 1)
    assert tiny('--losses', 'ce') == 0
    head = tmp_path / 'work' / 'runs' / 'ce' / 'seed0' / 'head.pth'
    before = head.stat().st_mtime_ns
    monkeypatch.setattr(worker, 'bank_runner', None)  # nothing may be trained
    assert tiny('--losses', 'ce', '--decisions', 'argmax', 'never_0') == 0
    assert head.stat().st_mtime_ns == before
    methods = {run['method'] for run in load_results(tmp_path / 'work')['runs']}
    assert methods == {'ce', 'ce + never_0', 'checkpoint', 'checkpoint + never_0'}


def test_what_is_being_scored_again_counts_as_unfinished(tiny, tmp_path, monkeypatch):
    """The page is written meanwhile: it once read half-written scores of another decision."""
    monkeypatch.setitem(decisions.DECISIONS, 'never_0', lambda logits: logits[:, 1:].argmax(1) + 1)
    assert tiny('--losses', 'ce') == 0
    finish, seen = Scorer.finish, []

    def finish_and_look(scorer: Scorer, size: int) -> None:
        folder = scorer.folders['argmax'].parents[2]  # runs/METHOD/seedN
        seen.append((folder.parent.name, RunFolder(folder).finished))
        finish(scorer, size)

    monkeypatch.setattr(Scorer, 'finish', finish_and_look)
    assert tiny('--losses', 'ce', '--decisions', 'argmax', 'never_0') == 0
    assert sorted(seen) == [('ce', None)] * 2 + [('checkpoint', None)] * 2  # dev and test
    runs = load_results(tmp_path / 'work')['runs']
    assert {run['method'] for run in runs if run['trained_as'] == 'ce'} == {'ce', 'ce + never_0'}


def test_every_method_is_tuned_with_as_many_settings(tiny, tmp_path):
    (tmp_path / 'focal.py').write_text(
        "loss_decode = [dict(type='SoftmaxFocalLoss', gamma=2.0)]\n"
        "search = {'loss_decode.0.gamma': [1.0, 4.0]}"
    )
    assert tiny('--losses', 'ce', 'focal.py', '--tune', 3) == 0
    results = load_results(tmp_path / 'work')
    trials = {
        method: [trial for trial in results['trials'] if trial['method'] == method]
        for method in ('ce', 'focal')
    }
    assert [t['settings'] for t in trials['ce']] == [{}, {'lr': 0.3}, {'lr': 3.0}]
    assert [t['settings'].get('loss_decode.0.gamma') for t in trials['focal']] == [1.0, 4.0, 1.0]
    assert {trial['seed'] for trial in results['trials']} == {1000}
    for method, tried in trials.items():
        best = max(tried, key=lambda trial: trial['scores']['mIoU'])
        (run,) = (r for r in results['runs'] if (r['method'], r['split']) == (method, 'test'))
        assert run['settings'] == best['settings']


class _Job:
    def __init__(self, group):
        self.group = group


@pytest.mark.parametrize(
    ('heads', 'most', 'workers', 'sizes'),
    [
        ([15, 15, 15], 16, 2, [8, 8, 8, 7, 7, 7]),  # two rounds would leave one worker idle
        ([15, 15, 15], 16, 1, [15, 15, 15]),
        ([40], 16, 1, [14, 14, 12]),
        ([1, 1], 16, 2, [1, 1]),
    ],
)
def test_passes_are_balanced(heads, most, workers, sizes):
    jobs = [_Job(group) for group, number in enumerate(heads) for _ in range(number)]
    assert [len(part) for part in group_jobs(jobs, most, workers)] == sizes


@pytest.mark.parametrize(
    ('changes', 'arguments', 'said'),
    [
        ({}, ['--losses', 'lpm'], "no 'lpm' (did you mean 'lmp'?"),
        ({}, ['--choose-by', 'miou'], "no score 'miou'"),
        ({}, ['--groups', 'subjects:(\\d+'], '--groups subjects:(\\d+'),
        ({}, ['--tune', '--tune-seed', 0], '--tune-seed: 0 is among --seeds'),
        ({}, ['--decisions', 'coin'], "no 'coin'"),
        ({}, ['--losses', 'ce', '--keep', 'TYPO', 'out.pth'], "--keep: no head of 'TYPO'"),
        ({}, ['--losses', 'ce', '--keep', 'ce', 'tiny.pth'], 'tiny.pth is the checkpoint itself'),
        ({}, ['--heads', 0], '--heads 0: give 1 or more'),
        ({}, ['--heads', -1], '--heads -1: give 1 or more'),
        ({}, ['--iters', 0], '--iters 0: give 1 or more'),
        ({}, ['--images', -1, '--gpus', 0], '--gpus 0: give 1 or more'),
        ({}, ['--images', -1], '--images -1: give 0 or more'),
        ({}, ['--strips', -1], '--strips -1: give 0 or more'),
        ({}, ['--jobs', 0], '--jobs 0: give 1 or more'),
        ({}, ['--tune', -1], '--tune -1: give 0 or more'),
        ({}, ['--report-only', '--keep', 'ce', 'out.pth'], 'give it without --report-only'),
        ({'train_cfg.by_epoch': True}, [], 'counts epochs'),
        ({'model.decode_head.channels': 8}, [], 'give the config that it was trained with'),
        ({'model.backbone': None}, [], 'has no backbone of its own'),
        (
            {'model.decode_head.loss_decode.type': 'RecalLoss'},
            [],
            'RecalLoss is not in the registry',
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    tiny, tmp_path, capsys, changes, arguments, said
):
    if changes:
        path = tmp_path / 'tiny.py'
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(changes)
        cfg.dump(str(path))
    assert tiny(*(arguments or ['--losses', 'ce'])) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count('\n') == 1
    assert not list((tmp_path / 'work').glob('runs/*'))
