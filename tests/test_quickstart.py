"""What `make quickstart` shows of a screening, and that it does nothing twice."""

import io
import json
import re
import shlex

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from rich.console import Console

from mmseg_balance.cli import make_parser
from mmseg_balance.experiments.plan import find_ingredient
from mmseg_balance.experiments.results import FORMAT
from tools import quickstart, quickstart_page

PIXELS = [960, 20, 15, 5]  # road, and three rare classes from pole to cyclist
SCORES = {  # dev and test mIoU
    'ce': (0.30, 0.31),
    'wce': (0.33, 0.34),
    'soft_dice_ce': (0.35, 0.36),
    'recall_dice': (0.40, 0.42),
}


def entry(method, split, miou, recall, iou):
    return {
        'method': method,
        'split': split,
        'seed': 0,
        'decision': 'argmax',
        'folder': f'runs/{method}/seed0',
        'scores': {'acc': 0.9, 'mIoU': miou, 'mRecall': 0.5, 'cal': 0.8},
        'per_class': {'recall': recall, 'IoU': iou},
    }


def screening(scores=SCORES, recommended='recall_dice', command='screen'):
    runs = []
    for method, values in scores.items():
        found = [0.9, 0.2, 0.1, 0.0] if method == 'ce' else [0.8, 0.5, 0.05, 0.125]
        for split, miou in zip(('dev', 'test'), values, strict=True):
            runs.append(entry(method, split, miou, found, found))
    return {
        'format': FORMAT,
        'classes': ['road', 'pole', 'pedestrian', 'cyclist'],
        'pixels': PIXELS,
        'groups': {},
        'runs': runs,
        'recommended': {'method': recommended},
        'differences': [{'method': 'recall_dice'}],
        'calls': [{'command': f'mmseg-balance {command}'}],
        'setting': {'test_images': 200, 'dev_images': 32},
    }


def shown(results, method):
    console = Console(file=io.StringIO(), width=120)
    console.print(quickstart_page.table(results, method))
    return [re.split('[│┃]', line)[1:-1] for line in console.file.getvalue().splitlines()]


def test_the_two_columns_are_the_scores_of_the_two_methods():
    rows = {
        cells[0].strip(): [c.strip() for c in cells[1:]]
        for cells in shown(screening(), 'recall_dice')
        if cells
    }
    assert rows['mIoU'] == ['31.0', '42.0', '+11.0']
    assert rows['accuracy'] == ['90.0', '90.0', '+0.0']
    assert rows['recall: cyclist (0.50 %)'] == ['0.0', '12.5', '+12.5']
    assert rows['IoU: pedestrian (1.50 %)'] == ['10.0', '5.0', '-5.0']
    assert not any('road' in title for title in rows)
    assert not any('pole' in title for title in rows), 'two per cent is not below two per cent'


@pytest.mark.parametrize(
    ('recommended', 'scores', 'method', 'said'),
    [
        ('recall_dice', SCORES, 'recall_dice', 'it has +11.0 points of mIoU over cross entropy'),
        ('ce', SCORES, 'recall_dice', 'nothing beats cross entropy in mIoU'),
        (
            'recall_dice',
            {**SCORES, 'recall_dice': (0.4, 0.3)},
            'recall_dice',
            '(-1.0 points): nothing beats',
        ),
    ],
    ids=['better', 'not on dev', 'not on test'],
)
def test_the_end_says_whether_cross_entropy_is_beaten(recommended, scores, method, said):
    results = screening(scores, recommended)
    assert quickstart.shown_method(results) == method
    assert said in quickstart_page.conclusion(results, method)


@pytest.mark.parametrize(('recommended', 'heading'), [('recall_dice', False), ('ce', True)])
def test_what_is_not_recommended_is_headed_so(recommended, heading):
    cells = ' '.join(
        ' '.join(row) for row in shown(screening(recommended=recommended), 'recall_dice')
    )
    assert 'recommended' in cells
    assert ('not recommended' in ' '.join(cells.split())) is heading


def test_a_screening_counts_as_done_when_it_is_this_one_and_whole(tmp_path):
    command = ['screen', 'a config', '--seeds', '0']

    def kept(results):
        (tmp_path / 'results.json').write_text(json.dumps(results))
        return quickstart.is_screened(tmp_path, command)

    assert not quickstart.is_screened(tmp_path, command)
    whole = screening(command=shlex.join(command))
    assert kept(whole)
    assert not kept({**whole, 'calls': [{'command': 'mmseg-balance screen other'}]})
    assert not kept({**whole, 'runs': whole['runs'][:-1]})
    assert not kept({**whole, 'differences': []})


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A work dir as a whole quickstart leaves it; starting a process fails."""
    monkeypatch.setattr(quickstart.subprocess, 'Popen', None)
    monkeypatch.setattr(quickstart.subprocess, 'run', None)
    config = Config.fromfile(quickstart.CONFIG)
    checkpoint = tmp_path / 'cross_entropy' / f'iter_{config.train_cfg.max_iters}.pth'
    checkpoint.parent.mkdir()
    checkpoint.touch()
    folder = tmp_path / 'screen'
    command = shlex.join(quickstart.screen_command(checkpoint, folder))
    images = {}
    for i, labels in enumerate(([0, 0, 0, 0], [0, 2, 2, 2], [0, 0, 2, 3], [0, 0, 0, 2])):
        images[f'{i:02d}_image'] = str(tmp_path / f'{i}.png')
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / f'{i}.png')
        for method in SCORES:
            out = folder / 'runs' / method / 'seed0' / 'predictions'
            out.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(np.array(labels, np.uint8).reshape(2, 2))
            picture.save(out / f'{i:02d}_image.png')
            picture.save(out / f'{i:02d}_image_truth.png')
    results = screening(command=command)
    for method in SCORES:
        meta = dict(classes=results['classes'], palette=[[i] * 3 for i in range(4)], images=images)
        out = folder / 'runs' / method / 'seed0' / 'predictions'
        (out / 'meta.json').write_text(json.dumps(meta))
    (folder / 'results.json').write_text(json.dumps(results))
    return tmp_path


def test_images_are_chosen_by_their_truth(finished):
    predictions = finished / 'screen' / 'runs' / 'ce' / 'seed0' / 'predictions'
    names = quickstart_page.shown_images(predictions, PIXELS)
    assert names == ['02_image', '01_image', '03_image']


def test_what_is_done_is_shown_and_not_done_again(finished, monkeypatch, capsys):
    monkeypatch.setattr(quickstart, 'console', Console(width=200))
    monkeypatch.setattr('sys.argv', ['quickstart.py', '--work-dir', str(finished)])
    quickstart.main()
    said = capsys.readouterr().out
    assert 'Trained already' in said
    assert 'Screened already' in said
    picture = finished / 'ce_and_recall_dice.png'
    assert str(picture) in said
    with Image.open(picture) as image:
        assert image.width > 1000


def test_the_screening_is_one_that_a_user_can_type(repository, tmp_path):
    command = quickstart.screen_command(tmp_path / 'iter_400.pth', tmp_path)
    args = make_parser().parse_args(command)
    assert (repository / args.config).is_file()
    for name in args.losses:
        find_ingredient(name, 'losses', [repository / 'configs'])
        assert name in quickstart_page.NAMES
