"""From run folders to results.json, tables and report: numbers, marks, escapes."""

import csv
import io
import json
import re
import shutil
import statistics
from html.parser import HTMLParser

import numpy as np
import pytest
from mmengine.config import Config

from mmseg_balance.experiments.compare import data_name, open_data
from mmseg_balance.experiments.publication import all_trials, announce, calls_so_far, write_files
from mmseg_balance.experiments.report import render, verdicts
from mmseg_balance.experiments.results import load_results, save_results, write_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.summary import Column, Method, methods_of, summarise
from mmseg_balance.experiments.tables import csv_table, markdown_table
from mmseg_balance.experiments.training_log import curves, last_step, read_scalars
from mmseg_balance.metrics.confusion_file import load_confusions
from tests.support.comparison_samples import write_results, write_run, write_scalars

VOID = {'meta', 'br', 'img', 'link', 'path', 'use', 'rect', 'hr', 'circle'}


class Page(HTMLParser):
    """Checks that tags nest, and keeps tags, links and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.links, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def method(name: str, *values: float | None) -> Method:
    return Method(name, [{'seed': i, 'scores': {'x': v}} for i, v in enumerate(values)])


def test_mean_and_deviation_over_seeds():
    ((cell,),) = summarise([method('a', 0.5, 0.53, 0.62)], [Column('x', 'x', '')])
    assert cell.mean == pytest.approx(100 * (0.5 + 0.53 + 0.62) / 3)
    assert cell.deviation == pytest.approx(100 * statistics.stdev([0.5, 0.53, 0.62]))
    assert cell.text() == '55.0 ± 6.2'


@pytest.mark.parametrize(
    ('values', 'direction', 'ranks'),
    [
        ([0.3, 0.5, 0.4, 0.1], 1, [0, 1, 2, 0]),
        ([0.3, 0.5, 0.4, 0.1], -1, [2, 0, 0, 1]),
        (
            [0.5, 0.50004, 0.4, 0.3],
            1,
            [1, 1, 2, 0],
        ),  # 50.0 both: what reads the same ranks the same
        ([None, 0.5, 0.4, 0.3], 1, [0, 1, 2, 0]),
        ([0.5, 0.5], 1, [0, 0]),
        ([0.5], 1, [0]),
        ([None, None], 1, [0, 0]),
    ],
)
def test_best_and_second_best(values, direction, ranks):
    methods = [method(str(i), v) for i, v in enumerate(values)]
    table = summarise(methods, [Column('x', 'x', '', direction)])
    assert [row[0].rank for row in table] == ranks


def test_a_score_that_one_seed_lacks_is_undefined():
    ((cell,),) = summarise([method('a', 0.5, None)], [Column('x', 'x', '')])
    assert (cell.mean, cell.text()) == (None, 'n/a')


@pytest.mark.parametrize(
    ('name', 'seed', 'said'),
    [
        ('dice', 1, '+10.0 over ce, no seed in common'),
        ('dice', 0, '+10.0 over ce'),
        ('checkpoint', None, '+10.0 over ce'),
    ],
)
def test_a_gain_without_a_seed_in_common_says_so(name, seed, said):
    """It stood there like any other."""
    methods = [
        Method('ce', [{'seed': 0, 'scores': {'mIoU': 0.5}}]),
        Method(name, [{'seed': seed, 'scores': {'mIoU': 0.6}}]),
    ]
    columns = [Column('mIoU', 'mIoU', '')]
    (found,) = verdicts(methods, columns, summarise(methods, columns))
    assert (found.methods, found.against) == (name, said)


@pytest.fixture
def work_dir(tmp_path):
    for name in ('ce', 'lmp', 'focal + balance_batch'):
        for seed in (0, 1):
            write_run(tmp_path, name, seed, lost_class=2 if name == 'ce' else None)
    return tmp_path


def test_results_hold_what_the_metrics_wrote(work_dir):
    results = write_results(work_dir, ['lmp', 'ce'])
    assert [m.name for m in methods_of(results)] == ['lmp', 'ce', 'focal + balance_batch']
    run = results['runs'][0]
    folder = work_dir / 'runs/lmp/seed0/scores/test/argmax'
    written = json.loads((folder / 'imbalance.json').read_text())
    confusions, _ = load_confusions(work_dir / run['confusion'])
    assert confusions.sum(0).tolist() == written['confusion']
    assert (run['split'], run['decision']) == ('test', 'argmax')
    assert results['pixels'] == np.sum(written['confusion'], axis=1).tolist()
    assert run['scores']['mIoU'] == written['scores']['mIoU']
    assert run['seconds'] == {'train': 61.0, 'test': 3.0}
    assert run['seconds_per_iteration'] == 0.2
    lost = next(r for r in results['runs'] if r['method'] == 'ce')
    assert lost['scores']['mF1'] is None  # nan is not JSON


def test_groups_of_classes_are_those_of_test_on_every_split(tmp_path):
    """Those of dev's own pixels had the same names, and differences went by test's."""
    folder = write_run(tmp_path, 'ce', 0)
    dev, test = (folder.scores(split) for split in ('dev', 'test'))
    shutil.copytree(test, dev)
    of_test = json.loads((test / 'imbalance.json').read_text())
    own = {**of_test, 'groups': {'head': [2], 'tail': [0], 'rest': [1]}}
    own['scores'] |= {'mIoU_head': 0.1, 'mIoU_tail': 0.2, 'mIoU_rest': 0.3}
    (dev / 'imbalance.json').write_text(json.dumps(own))
    on_dev, on_test = write_results(tmp_path)['runs']
    assert on_dev['split'] == 'dev'
    assert of_test['groups'] == {'head': [0], 'body': [1], 'tail': [2]}
    for run in (on_dev, on_test):
        iou = dict(zip(('head', 'body', 'tail'), run['per_class']['IoU'], strict=True))
        found = {name: value for name, value in run['scores'].items() if 'mIoU_' in name}
        assert found == {f'mIoU_{name}': value for name, value in iou.items()}


def test_runs_of_another_base_config_are_left_out_and_named(work_dir):
    folder = RunFolder(work_dir / 'runs/lmp/seed1')
    folder.update_state(base_hash='longer')
    results = write_results(work_dir)
    assert results['left_out'] == ['lmp, seed 1']
    assert [m.seeds for m in methods_of(results) if m.name == 'lmp'] == [[0]]


def test_markdown_table(work_dir):
    text = markdown_table(write_results(work_dir, ['ce']))
    lines = text.splitlines()
    assert lines[0].startswith('| loss | acc | F1 | rec | cal | S\\_acc | S\\_rec | mIoU | FWIoU |')
    assert len({line.count('|') for line in lines[:5]}) == 1
    assert lines[2].startswith('| ce | ')
    assert ' n/a ' in lines[2]
    assert re.search(r'\*\*\d+\.\d ± \d+\.\d\*\*', text)
    assert re.search(r'<u>\d+\.\d ± \d+\.\d</u>', text)
    caption = next(line for line in lines if line.startswith('Scores in %'))
    assert '40 iterations' in caption
    assert 'torch 2.13' in caption


def test_csv_table_has_full_precision(work_dir):
    results = write_results(work_dir)
    rows = list(csv.DictReader(io.StringIO(csv_table(results))))
    assert len(rows) == 6
    for row, run in zip(rows, results['runs'], strict=True):
        assert float(row['mIoU']) == run['scores']['mIoU']
        assert float(row['recall/class 1 <i>']) == run['per_class']['recall'][1]
    assert rows[0]['mF1'] == ''


@pytest.mark.parametrize('num_classes', [2, 3, 31])
def test_the_page_is_whole_and_needs_nothing_else(tmp_path, num_classes):
    for name in ('ce', 'a<b>&"c"', '$x$'):
        write_run(tmp_path, name, 0, num_classes)
    text = render(write_results(tmp_path), tmp_path)
    page = Page(text)
    assert all(link.startswith(('#', 'data:')) for link in page.links)
    assert 'script' not in page.tags
    assert page.tags.count('i') == min(num_classes, 3)  # the legend's; none from a class name
    words = ' '.join(page.words)
    assert 'a<b>&"c"' in words
    assert f'class {num_classes - 1} <i>' in words
    assert page.tags.count('svg') == 1 + 2 + 3 + 3  # trade-off, gains, reliability, curves
    assert page.tags.count('img') == 2 * (2 + 3)  # strips: input, truth, methods
    assert [name for name in ('head', 'body', 'tail') if f'>{name}</th>' in text] == (
        ['head', 'tail'] if num_classes == 2 else ['head', 'body', 'tail']
    )


def test_a_page_of_unfinished_runs_says_why(work_dir):
    folder = write_run(work_dir, 'broken', 0)
    (folder.path / 'finished.json').unlink()
    folder.update_state(error='train ended with status 1:\nValueError: <p> must be positive')
    text = render(write_results(work_dir), work_dir)
    assert 'ValueError: &lt;p&gt; must be positive' in text
    assert '1 run\n    is not finished' in text


def test_a_page_of_nothing(tmp_path):
    folder = write_run(tmp_path, 'ce', 0)
    (folder.path / 'finished.json').unlink()
    results = write_results(tmp_path)
    assert 'No run has finished yet' in ''.join(Page(render(results, tmp_path)).words)
    assert markdown_table(results) == 'No run has finished.\n'
    assert csv_table(results).splitlines()[1].startswith('ce,ce,config,,0,,unfinished,')


def test_one_method_alone_is_shown_without_ranks_or_gains(tmp_path):
    write_run(tmp_path, 'ce', 0)
    text = render(write_results(tmp_path), tmp_path)
    assert 'class="best"' not in text
    assert 'At a glance' not in text


def test_the_report_can_be_made_again_from_the_results(work_dir):
    write_results(work_dir)
    write_files(work_dir)
    files = [work_dir / name for name in ('table.md', 'table.csv', 'report.html')]
    before = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    for path in work_dir.glob('runs/*/*/*.json'):
        path.unlink()
    write_files(work_dir)
    assert [path.read_bytes() for path in files] == before


def test_missing_or_foreign_results_are_refused(tmp_path):
    with pytest.raises(ValueError, match='run the comparison first'):
        load_results(tmp_path)
    write_json(tmp_path / 'results.json', {'format': 99})
    with pytest.raises(ValueError, match='format 99 is not 2'):
        load_results(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.json'
    write_json(path, {'a': 1})
    with pytest.raises(TypeError):
        write_json(path, {'a': object()})
    assert json.loads(path.read_text()) == {'a': 1}


@pytest.mark.parametrize(
    ('kind', 'root', 'name'),
    [
        ('CamVidDataset', 'data/camvid', 'CamVid'),
        ('BaseSegDataset', 'data/ccp/', 'ccp'),
        ('BaseSegDataset', None, 'BaseSeg'),
    ],
)
def test_data_sets_are_called_by_their_names(kind, root, name):
    dataset = type(kind, (), {'data_root': root})()
    assert data_name(dataset) == name


def test_a_config_without_test_data_is_named(tmp_path):
    """compare ended with a KeyError."""
    path = tmp_path / 'train_alone.py'
    path.write_text('train_dataloader = dict()')
    with pytest.raises(ValueError, match=r'train_alone\.py has no test_dataloader'):
        open_data(Config.fromfile(path), 'test')


def test_curves_of_a_resumed_training_are_joined(tmp_path):
    write_scalars(tmp_path / '20260101_000000', range(4, 41, 4))
    write_scalars(tmp_path / '20260101_000500', range(24, 61, 4))
    found = curves(read_scalars(tmp_path))
    assert [step for step, _ in found['loss']] == list(range(4, 61, 4))
    assert [step for step, _ in found['mIoU']] == [20, 40, 60]
    assert 'lr' not in found
    assert last_step(tmp_path) == 60
    assert last_step(tmp_path / 'none') == 0


def test_a_second_call_keeps_the_first_ones_order_and_baseline(tmp_path):
    def call(*methods, base='b'):
        made = dict(command=' '.join(methods), base_hash=base, methods=list(methods))
        calls = calls_so_far(tmp_path, made)
        write_json(tmp_path / 'results.json', dict(calls=calls))
        return [made['command'] for made in calls]

    assert call('ce', 'lmp') == ['ce lmp']
    assert call('ce + balance_batch') == ['ce lmp', 'ce + balance_batch']
    assert call('ce', 'lmp') == ['ce lmp', 'ce + balance_batch']
    assert call('lmp', 'ce', 'ce + balance_batch') == ['lmp ce ce + balance_batch']
    assert call('ce', base='longer') == ['ce']


def test_trials_of_earlier_calls_stay(tmp_path):
    """A call without --tune, or with other methods, left results.json without them."""

    def trial(method, setting, score):
        return dict(method=method, setting=setting, scores=dict(mIoU=score))

    before = [trial('ce', 0, 0.1), trial('ce', 1, 0.2)]
    write_json(tmp_path / 'results.json', dict(calls=[dict(base_hash='b')], trials=before))
    assert all_trials(tmp_path, 'b', []) == before
    dice = trial('dice', 0, 0.4)
    assert all_trials(tmp_path, 'b', [dice]) == [*before, dice]
    assert all_trials(tmp_path, 'b', [trial('ce', 0, 0.3)]) == [trial('ce', 0, 0.3)]
    assert all_trials(tmp_path, 'longer', []) == []


def test_the_page_shows_what_was_tuned(work_dir):
    for path in work_dir.glob('runs/lmp/*'):
        RunFolder(path).update_state(settings={'lr': 0.3, 'loss_decode.0.p': 2})
    results = write_results(work_dir)
    methods = dict.fromkeys(run['trained_as'] for run in results['runs'])
    tuned = {'lr': 0.3, 'loss_decode.0.p': 2}
    results['trials'] = [
        dict(method=m, setting=i, settings=tuned if m == 'lmp' else {}, chosen=i == 2)
        for m in methods
        for i in range(3)
    ]
    said = '3 settings tried for each method on dev'
    assert said in markdown_table(results)
    words = ' '.join(Page(render(results, work_dir)).words)
    assert said in words
    assert words.count('lr 0.3, loss_decode.0.p 2') == 2


@pytest.mark.parametrize(
    ('verb', 'said'), [('compare', 'no method is recommended'), ('screen', 'has not been tested')]
)
def test_a_page_without_dev_says_so(work_dir, verb, said):
    results = write_results(work_dir)
    results['verb'] = verb
    assert said not in render(results, work_dir) + markdown_table(results)
    results['setting']['dev_is_test'] = True
    assert said in render(results, work_dir)
    assert said in markdown_table(results)


@pytest.mark.parametrize(
    ('mean', 'p', 'said'),
    [
        (0.038, 0.001, '+3.8 over ce'),
        (0.038, 0.3, '+3.8 over ce, not significant'),
        (0.038, None, '+3.8 over ce, without an interval'),
    ],
)
def test_what_is_best_at_a_glance_says_whether_it_can_be_told(mean, p, said):
    """Among many methods one is best by chance, and one with fewer seeds more easily."""
    methods = [
        Method(name, [dict(seed=i, scores=dict(mIoU=value)) for i, value in enumerate(values)])
        for name, values in (('ce', [0.1, 0.2]), ('lmp', [0.3]))
    ]
    columns = [Column('mIoU', 'mIoU', '')]
    row = dict(split='test', baseline='ce', method='lmp', score='mIoU', mean=mean, p_holm=p)
    (found,) = verdicts(methods, columns, summarise(methods, columns), [row])
    assert (found.methods, found.against) == ('lmp', said)
    (found,) = verdicts(methods, columns, summarise(methods, columns))
    assert found.against == '+15.0 over ce'


def test_the_terminal_says_that_dev_is_test(work_dir, capsys):
    """The recommendation was printed as if test images had confirmed it."""
    results = write_results(work_dir)
    results['setting']['dev_is_test'] = True
    save_results(results, work_dir)
    announce(work_dir)
    assert 'The config has no val data apart from its test data' in capsys.readouterr().out
