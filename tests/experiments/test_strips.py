"""Which images are shown, and what is kept of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_balance.experiments.prediction_hook import PredictionHook
from mmseg_balance.experiments.results import write_json
from mmseg_balance.experiments.strips import (
    WIDTH,
    collect_strips,
    disagreement,
    mean_iou,
    paint,
    read_labels,
)
from tests.support.comparison_samples import write_results, write_run


def test_disagreement_weighs_every_class_alike():
    labels = np.array([[0] * 8 + [1, 255]])
    same = np.zeros((1, 10), int)
    other = same.copy()
    other[0, [0, 1, 9]] = 3  # 2 of 8 pixels of class 0, none of 1; the ignored one is not counted
    assert disagreement(np.stack([same, same, other]), labels, 255) == pytest.approx(0.125)
    other[0, 8] = 1
    assert disagreement(np.stack([same, other]), labels, 255) == pytest.approx((0.25 + 1) / 2)
    assert disagreement(np.stack([same, same]), labels, 255) == 0
    assert disagreement(np.stack([same, other]), np.full((1, 10), 255), 255) == 0


def test_mean_iou_of_an_image():
    labels = np.array([[0, 0, 1, 255]])
    assert mean_iou(np.array([[0, 1, 1, 1]]), labels, 255) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert np.isnan(mean_iou(labels, np.full((1, 4), 255), 255))


def test_the_most_different_images_come_first(tmp_path):
    for name in ('ce', 'lmp'):
        write_run(tmp_path, name, 0)
    strips = write_results(tmp_path)['strips']
    assert len(strips['pictures']) == 2
    values = [p['disagreement'] for p in strips['pictures']]
    assert values == sorted(values, reverse=True)
    assert values[-1] > 0  # image0, on which both are right, is the one left out
    for picture in strips['pictures']:
        paths = [
            picture['input'],
            picture['truth'],
            *(p['path'] for p in picture['predictions'].values()),
        ]
        assert all((tmp_path / p).is_file() for p in paths)


def test_strips_do_without_the_input_and_without_predictions(tmp_path):
    folder = write_run(tmp_path, 'ce', 0)
    for path in (tmp_path / 'data').glob('*.jpg'):
        path.unlink()
    results = write_results(tmp_path)
    assert {p['input'] for p in results['strips']['pictures']} == {None}
    (folder.path / 'predictions' / 'meta.json').unlink()
    assert collect_strips(results, tmp_path, 2) == {'pictures': []}


def test_strips_pair_predictions_by_image(tmp_path):
    """Images of one name in different folders were mixed when --images changed; other sizes ended the report."""

    def keep(method: str, *images: str) -> dict:
        folder = tmp_path / method / 'predictions'
        folder.mkdir(parents=True)
        names = PredictionHook(images, str(folder)).names
        for path, name in names.items():
            labels = np.zeros((int(Path(path).parent.name), 3), np.uint8)
            for end in ('', '_truth'):
                Image.fromarray(labels).save(folder / f'{name}{end}.png')
        meta = dict(classes=['a', 'b'], palette=[], ignore_index=255)
        write_json(folder / 'meta.json', {**meta, 'images': {n: p for p, n in names.items()}})
        return dict(method=method, split='test', decision='argmax', folder=method)

    runs = [
        keep('ce', '1/image.png', '3/image.png'),
        keep('lmp', '1/image.png', '2/image.png', '3/image.png'),
    ]
    pictures = collect_strips({'runs': runs}, tmp_path, 6)['pictures']
    heights = [
        [len(read_labels(tmp_path / shown['path'])) for shown in picture['predictions'].values()]
        for picture in pictures
    ]
    assert heights == [[3, 3], [1, 1]]


def test_painting_uses_the_palette_and_leaves_ignored_pixels_open():
    image = paint(np.array([[0, 1, 255]]), [[10, 20, 30], [40, 50, 60]], 255).convert('RGBA')
    assert np.asarray(image)[0, :2].tolist() == [[10, 20, 30, 255], [40, 50, 60, 255]]
    assert np.asarray(image)[0, 2, 3] == 0


def test_small_copies_keep_their_classes(tmp_path):
    """Resizing must not invent classes between two labels."""
    folder = write_run(tmp_path, 'ce', 0).path / 'predictions'
    large = np.zeros((300, 2 * WIDTH), np.uint8)
    large[:, WIDTH:] = 2
    Image.fromarray(large).save(folder / '02_image2.png')
    Image.fromarray(large).save(folder / '02_image2_truth.png')
    pictures = write_results(tmp_path)['strips']['pictures']
    path = next(p['truth'] for p in pictures if p['name'] == 'image2.jpg')
    small = read_labels(tmp_path / path)
    assert small.shape == (150, WIDTH)
    assert np.unique(small).tolist() == [0, 2]


def test_the_hook_keeps_chosen_images_alone(tmp_path):
    dataset = SimpleNamespace(
        metainfo=dict(classes=('a', 'b'), palette=[[1, 2, 3], [4, 5, 6]]), ignore_index=255
    )
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    hook = PredictionHook(['x/one.jpg', 'y/one.jpg'], str(tmp_path / 'out'))
    hook.before_test(runner)
    labels = torch.tensor([[[0, 1, 255]]])
    samples = [
        SimpleNamespace(
            img_path=path,
            pred_sem_seg=SimpleNamespace(data=labels % 255),
            gt_sem_seg=SimpleNamespace(data=labels),
        )
        for path in ('y/one.jpg', 'z/other.jpg')
    ]
    hook.after_test_iter(runner, 0, outputs=samples)
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        '01_one.png',
        '01_one_truth.png',
        'meta.json',
    ]
    assert read_labels(tmp_path / 'out' / '01_one_truth.png').tolist() == [[0, 1, 255]]
