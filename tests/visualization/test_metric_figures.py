"""Figures of the metrics: what is drawn is what was measured; the hook reaches the visualizer."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer

from mmseg_balance.cli import main
from mmseg_balance.experiments.figures import draw_reliability
from mmseg_balance.experiments.summary import Method
from mmseg_balance.functional.confusion import confusion_scores
from mmseg_balance.metrics import CalibrationMetric
from mmseg_balance.visualization import ReliabilityDiagramHook, reliability
from mmseg_balance.visualization.confusion import confusion_figure
from mmseg_balance.visualization.gain import gain_figure
from mmseg_balance.visualization.performance import read_reports
from mmseg_balance.visualization.reliability import per_class_diagrams, reliability_diagram
from mmseg_balance.visualization.style import COLORS, new_figure, run_names, save_figure
from mmseg_balance.visualization.tradeoff import tradeoff_figure

CLASSES = ['road', 'tree', 'car']
# Two of ten bins filled, for class 0 and 1: pooled (mean probability, share true) is
# (.05, .1) over 300 pairs and (.8, .6) over 100.
BINS = dict(
    count=[[100, *8 * [0], 100], [200, *9 * [0]], 10 * [0]],
    positive=[[10, *8 * [0], 60], [20, *9 * [0]], 10 * [0]],
    confidence=[[5.0, *8 * [0.0], 95.0], [10.0, *9 * [0.0]], 10 * [0.0]],
)


def curves(axes):
    return [line.get_xydata() for line in axes.lines if line.get_marker() == 'o']


def test_reliability_diagram_draws_the_pooled_bins():
    curve, histogram = reliability_diagram({'run': BINS}).axes
    (points,) = curves(curve)
    np.testing.assert_allclose(points, [[0.05, 0.1], [0.95, 0.6]])
    # cal = 1 - 4/10 * (.05 + .35)
    assert [text.get_text() for text in curve.get_legend().get_texts()] == ['run  cal 0.840']
    assert histogram.patches[0].get_data().values.tolist() == [300, *8 * [0], 100]


def test_reliability_diagram_of_several_runs():
    curve, _ = reliability_diagram({'a': BINS, 'b': BINS}).axes
    assert len(curves(curve)) == 2
    with pytest.raises(ValueError, match='9 runs in one diagram; at most 8'):
        reliability_diagram({str(number): BINS for number in range(9)})


def test_per_class_diagrams():
    figure = per_class_diagrams({'run': BINS}, CLASSES)
    first, second, third = (axes for axes in figure.axes if axes.get_visible())
    np.testing.assert_allclose(curves(first)[0], [[0.05, 0.1], [0.95, 0.6]])
    np.testing.assert_allclose(curves(second)[0], [[0.05, 0.1]])
    assert curves(third)[0].size == 0
    # 100/200 * .05 + 100/200 * .35
    assert first.get_title() == 'road\nECE 0.2000'


@pytest.mark.parametrize(
    ('columns', 'shares'),
    [
        # Rows sorted by frequency: tree (10), road (5), car (0).
        (False, [[0.9, 0.1, 0], [0.4, 0.6, 0], [0, 0, 0]]),
        (True, [[9 / 11, 0.25, 0], [2 / 11, 0.75, 0], [0, 0, 0]]),
    ],
)
def test_confusion_figure(columns, shares):
    figure = confusion_figure([[3, 2, 0], [1, 9, 0], [0, 0, 0]], CLASSES, columns)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ['tree', 'road', 'car']


def test_confusion_figure_of_many_classes_has_no_numbers():
    axes = confusion_figure(np.eye(150), [f'class {index}' for index in range(150)]).axes[0]
    assert not axes.texts


def test_gain_figure_is_sorted_and_leaves_out_nan():
    axes = gain_figure([0.1, np.nan, -0.05], [900, 10, 1_200_000], CLASSES).axes[0]
    np.testing.assert_allclose(axes.collections[1].get_offsets(), [[0, 10], [1, -5]])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ['road\n900', 'car\n1.2M']
    assert axes.get_title(loc='left') == '1 of 2 classes gain; mean +2.50 points'


def test_tradeoff_figure_averages_the_runs_of_a_method():
    axes = tradeoff_figure({'ce': [(0.5, 0.4), (0.6, 0.5)], 'lmp': [(0.7, 0.45)]}).axes[0]
    large = [one.get_offsets()[0] for one in axes.collections if one.get_sizes()[0] == 55]
    np.testing.assert_allclose(large, [[55, 45], [70, 45]])
    assert {text.get_text() for text in axes.texts} == {'ce', 'lmp'}


STRANGE = ['_background_', r'cost $\foo$', 'a < b & "c"']


@pytest.mark.parametrize(
    'draw',
    [
        lambda: gain_figure([0.1, 0.2, 0.3], [1, 2, 3], STRANGE),
        lambda: confusion_figure(np.eye(3), STRANGE),
        lambda: per_class_diagrams({'_mine': BINS, 'own $x_': BINS}, STRANGE),
        lambda: tradeoff_figure({name: [(0.5, 0.4)] for name in STRANGE}),
    ],
)
def test_names_are_no_mathematics(draw, tmp_path):
    save_figure(draw(), str(tmp_path / 'a.png'))
    assert (tmp_path / 'a.png').read_bytes()[:4] == b'\x89PNG'


def test_names_with_an_underscore_are_in_the_legends():
    methods = ['_mine', *'abcd']
    for figure in (
        tradeoff_figure({name: [(0.5, 0.4)] for name in methods}),
        per_class_diagrams(dict.fromkeys(methods, BINS), CLASSES),
    ):
        assert len(figure.legends[0].get_texts()) == len(methods)
    assert draw_reliability(Method('_mine', [dict(bins=BINS)]), COLORS[0])


def test_names_of_files():
    assert run_names(['a/b/cal.json', 'a/c/cal.json'], None) == ['b', 'c']
    assert run_names(['cal.json'], None) == ['cal']
    assert run_names(['w/a/cal.json', 'w/b/cal.json', 'w/b/dev.json'], None) == [
        'a/cal',
        'b/cal',
        'b/dev',
    ]
    assert run_names(['a/cal.json', 'a/cal.pkl'], None) == ['a/cal.json', 'a/cal.pkl']
    assert run_names(['a/b/cal.json', 'a/cal.json'], None) == ['b/cal', 'cal']
    with pytest.raises(ValueError, match='--names has 1 names for 2 files'):
        run_names(['a', 'b'], ['x'])


def write_reports(folder):
    confusion = np.array([[30, 2, 1], [3, 20, 1], [1, 1, 2]])
    scores = confusion_scores(confusion)
    per_class = {name: scores.pop(name).tolist() for name in ('IoU', 'recall', 'precision', 'F1')}
    (folder / 'imb.json').write_text(
        json.dumps(
            dict(classes=CLASSES, confusion=confusion.tolist(), scores=scores, per_class=per_class)
        )
    )
    undefined = dict(
        classes=CLASSES,
        confusion=confusion.tolist(),
        scores=scores | dict(mRecall=None),
        per_class={name: [*values[:2], None] for name, values in per_class.items()},
    )
    (folder / 'undefined.json').write_text(json.dumps(undefined))
    (folder / 'cal.json').write_text(json.dumps(dict(classes=CLASSES, scores={}, bins=BINS)))


def test_commands_write_pictures(tmp_path):
    write_reports(tmp_path)
    commands = {
        'reliability': 'reliability cal.json',
        'per_class': 'reliability cal.json --per-class',
        'confusion': 'confusion imb.json',
        'gain': 'gain imb.json imb.json',
        'tradeoff': 'tradeoff imb.json imb.json --names a b',
        'gain_undefined': 'gain imb.json undefined.json',
        'tradeoff_undefined': 'tradeoff imb.json undefined.json --names a b',
    }
    script = (
        'import shlex\nfrom mmseg_balance.cli import main\n'
        f'for name, line in {commands!r}.items():\n'
        '    main(["plot", *shlex.split(line), "--out", f"pictures/{name}.png"])\n'
    )
    result = subprocess.run(
        [sys.executable, '-c', script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for name in commands:
        picture = cv2.imread(str(tmp_path / 'pictures' / f'{name}.png'))
        assert picture is not None
        assert (picture != 255).mean() > 0.005


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('confusion cal.json', 'cal.json is no out_file of ImbalanceMetric: it lacks confusion'),
        ('confusion list.json', 'it lacks classes, confusion'),
        ('confusion half.json', 'half.json is no out_file of ImbalanceMetric: Expecting'),
        ('confusion notes.txt', 'notes.txt is no out_file of ImbalanceMetric: Unsupported'),
        ('confusion none.json', 'none.json'),
        ('gain imb.json cal.json', 'it lacks confusion, per_class'),
        ('tradeoff cal.json', 'it lacks confusion'),
        ('reliability imb.json', 'imb.json is no out_file of CalibrationMetric: it lacks bins'),
        ('reliability cal.json other.json --per-class', 'the files have different classes'),
    ],
)
def test_a_file_of_another_metric_ends_in_a_sentence(tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    write_reports(tmp_path)
    (tmp_path / 'list.json').write_text('[1]')
    (tmp_path / 'half.json').write_text('{')
    (tmp_path / 'notes.txt').write_text('x')
    (tmp_path / 'other.json').write_text(json.dumps(dict(classes=CLASSES[:2], bins=BINS)))
    with pytest.raises(SystemExit, match=message):
        main(['plot', *line.split()])


def runner_with(tmp_path, *metrics):
    init_default_scope('mmseg')
    visualizer = Visualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=list(metrics)))
    return SimpleNamespace(val_loop=loop, visualizer=visualizer, iter=7)


def test_reports_of_a_killed_run_are_read_without_its_last_line(tmp_path):
    scalars = tmp_path / 'scalars.json'
    scalars.write_text('{"iou/car": 0.5, "step": 50}\n{"iou/car": 0.')
    assert read_reports(scalars)['iou'] == {'car': ([50], [0.5])}
    scalars.write_text('no scalars')
    with pytest.raises(ValueError, match='has no scalars of a ClassPerformanceHook'):
        read_reports(scalars)


def test_a_picture_without_a_suffix_is_named_as_it_was_written(tmp_path, capsys):
    save_figure(new_figure(1, 1), str(tmp_path / 'picture'))
    assert capsys.readouterr().out == f'Saved {tmp_path / "picture.png"}\n'
    assert (tmp_path / 'picture.png').is_file()


def test_hook_draws_to_the_visualizer(tmp_path):
    metric = CalibrationMetric()
    metric.bins = BINS
    runner = runner_with(tmp_path, metric)
    hook = ReliabilityDiagramHook()
    hook.before_train(runner)
    hook.after_val_epoch(runner, {})
    (picture,) = tmp_path.rglob('reliability_7.png')
    assert cv2.imread(str(picture)).shape[2] == 3


def test_hook_is_silent_on_other_ranks(tmp_path):
    runner = runner_with(tmp_path, CalibrationMetric())
    ReliabilityDiagramHook().after_val_epoch(runner, {})
    assert not list(tmp_path.rglob('*.png'))


def test_hook_without_the_metric_says_so_before_training(tmp_path):
    with pytest.raises(ValueError, match='no CalibrationMetric in val_evaluator'):
        ReliabilityDiagramHook().before_train(runner_with(tmp_path))


def test_two_runs_of_one_name_are_refused_rather_than_drawn_as_one(tmp_path):
    args = argparse.Namespace(
        files=['a.json', 'b.json'], names=['ce', 'ce'], per_class=False, out=tmp_path / 'a.png'
    )
    with pytest.raises(ValueError, match='--names'):
        reliability.run(args)


def test_a_folder_as_picture_is_refused_before_anything_is_drawn(tmp_path):
    """``--out DIR`` wrote ``DIR.png`` beside it."""
    with pytest.raises(SystemExit, match=f'^error: --out {tmp_path} is a folder'):
        main(['plot', 'confusion', 'nope.json', '--out', str(tmp_path)])
    assert not Path(f'{tmp_path}.png').exists()


def test_lines_without_scalars_are_passed_over(tmp_path):
    """A list, or a line without its iteration, was an AttributeError or a KeyError."""
    scalars = tmp_path / 'scalars.json'
    scalars.write_text('[1]\n{"iou/car": 0.1}\n{"iou/car": 0.5, "step": 50}\n')
    assert read_reports(scalars)['iou'] == {'car': ([50], [0.5])}


@pytest.mark.parametrize('picture', ['reliability', 'performance'])
def test_a_missing_file_is_told_without_the_number_of_the_error(picture, tmp_path):
    with pytest.raises(SystemExit, match='^error: nope.json does not exist'):
        main(['plot', picture, 'nope.json', '--out', str(tmp_path / 'a.png')])
