"""RareClassPaste: what it pastes, where, and what it never covers."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import argparse
import time

import cv2
import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch import nn

from mmseg_balance.cli import main
from mmseg_balance.samplers import FocusedIndex
from mmseg_balance.statistics import ClassStatistics
from mmseg_balance.transforms import RareClassPaste
from mmseg_balance.transforms.regions import Region, find_regions, paste_region
from mmseg_balance.visualization import paste as paste_figure

CLASSES = ('common', 'middle', 'rare')
# In the pictures below a pixel's blue value is 10 times its class, its red value its image.
SHAPE = (40, 60)


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image 0 has the rare class, image 1 the middle one, image 2 only the common one."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    if index == 0:
        labels[20:30, 20:30] = 2
        labels[5, 5] = 2  # too small a region
    if index == 1:
        labels[10:35, 10:50] = 1
        labels[0, :] = 255
    image = np.stack([labels * 10, np.zeros_like(labels), np.full_like(labels, index + 1)], -1)
    return image, labels


class Scenes:
    """What MultiImageMixDataset hands to a transform; counts what is loaded."""

    metainfo = dict(classes=CLASSES)

    def __init__(self) -> None:
        self.loaded = []

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict:
        self.loaded.append(int(index))
        image, labels = scene(int(index))
        return dict(img=image, gt_seg_map=labels, sample_idx=index)


def statistics() -> ClassStatistics:
    return ClassStatistics.from_rows(
        CLASSES, [[int((scene(i)[1] == c).sum()) for c in range(3)] for i in range(3)]
    )


def built(**options) -> tuple[RareClassPaste, Scenes]:
    transform = RareClassPaste(
        **{
            **dict(prob=1.0, min_pixels=50, scale_range=(1, 1), shift=0.0, statistics=statistics()),
            **options,
        }
    )
    scenes = Scenes()
    assert transform.get_indices(scenes) == []
    return transform, scenes


def test_the_rare_class_is_pasted_where_it_stood():
    transform, scenes = built()
    for _ in range(5):
        found = transform(Scenes()[2])
        image, labels = scene(2)
        labels[20:30, 20:30] = 2
        np.testing.assert_array_equal(found['gt_seg_map'], labels)
        assert (found['img'][labels == 2] == [20, 0, 1]).all()
        assert (found['img'][labels != 2] == image[labels != 2]).all()
        assert found['pasted'] == (2, 100)
    assert scenes.loaded == [0] * 5  # one source each, of the data set that is there


def test_a_rarer_class_and_the_same_class_are_never_covered():
    transform, _ = built(temperature=1e6, shift=(0.3, 0.3), min_visible=0.01, scale_range=(0.5, 2))
    pasted = set()
    for _ in range(60):
        for index in range(3):
            before, after = Scenes()[index]['gt_seg_map'], transform(Scenes()[index])
            changed = before != after['gt_seg_map']
            wanted, pixels = after['pasted']
            assert changed.sum() == pixels
            assert (after['gt_seg_map'][changed] == wanted).all()
            rank = np.array([3, 2, 1] + [9] * 253)  # of how common; ignored pixels yield to all
            assert (rank[before[changed]] > rank[wanted]).all()
            pasted |= {(wanted, index)} if pixels else set()
    assert pasted >= {(2, 1), (2, 2), (1, 0), (1, 2)}


def test_ignored_pixels_whose_label_is_a_class_are_covered():
    rows = [[int((scene(i)[1] == c).sum()) for c in range(3)] for i in range(3)]
    counted = ClassStatistics.from_rows(CLASSES, np.array(rows) * [0, 1, 1])  # of ignore_index=0
    transform, _ = built(statistics=counted)
    assert transform(Scenes()[2])['pasted'] == (2, 100)


def test_too_little_seen_is_not_pasted():
    region = Region(np.full((4, 4, 3), 7, np.uint8), np.ones((4, 4), bool), (0, 0))
    labels = np.zeros((10, 10), np.uint8)
    labels[:, 5:] = 1
    covers = np.array([True, False])
    for column, visible, expected in ((5, 0.5, 8), (6, 0.5, 0), (6, 0.25, 4), (40, 0.1, 0)):
        image, kept = np.zeros((10, 10, 3), np.uint8), labels.copy()
        assert paste_region(image, kept, region, 1, (8, column), covers, visible) == expected
        assert (image == 7).all(-1).sum() == expected
        assert (kept != labels).sum() == expected


def test_regions_are_connected_large_enough_and_cut_out():
    labels = np.zeros((20, 20), np.uint8)
    labels[2:6, 3:8] = 4
    labels[6, 8] = 4  # touches at a corner
    labels[15, 15] = 4
    image = np.arange(1200, dtype=np.int64).reshape(20, 20, 3) % 251
    regions = find_regions(image, labels, 4, min_pixels=2)
    assert len(regions) == 1
    assert regions[0].num_pixels == 21
    assert regions[0].foot == (7 / 20, 6 / 20)
    np.testing.assert_array_equal(regions[0].image, image[2:7, 3:9])
    assert len(find_regions(image, labels, 4, min_pixels=1)) == 2
    assert find_regions(image, labels, 3, min_pixels=1) == []


@pytest.mark.parametrize('scale', [0.5, 1, 2])
def test_resizing_keeps_the_share_of_the_mask(scale):
    mask = np.zeros((16, 24), bool)
    mask[:, :12] = True
    region = Region(np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 200, mask, (0.5, 0.5))
    found = region.resized(scale, mirrored=True)
    assert found.mask.shape == (16 * scale, 24 * scale)
    assert found.mask.mean() == pytest.approx(0.5, abs=0.05)
    assert found.mask[:, -1].all()
    assert not found.mask[:, 0].any()
    assert found.image[found.mask].mean() > 180


@pytest.mark.parametrize('channels', [(), (1,), (4,), (5,), (12,)])
def test_images_of_any_number_of_channels(channels):
    image = np.zeros((*SHAPE, *channels), np.float32)
    labels = scene(0)[1]
    (region,) = find_regions(image + 1, labels, 2, min_pixels=50)
    for scale in (0.5, 0.7, 1, 1.5):  # 0.7: OpenCV shrinks 4 channels at most by it
        after = image.copy()
        pixels = paste_region(
            after,
            np.zeros_like(labels),
            region.resized(scale),
            2,
            (30, 25),
            np.ones(256, bool),
            0.5,
        )
        assert pixels == round(100 * scale**2)
        assert after.sum() == pytest.approx(pixels * np.prod(channels))


def test_channels_are_resized_each_by_itself():
    image = np.random.default_rng(0).random((10, 10, 7)).astype(np.float32)
    found = Region(image, np.ones((10, 10), bool), (0, 0)).resized(0.7).image
    for channel in range(7):
        alone = cv2.resize(image[..., channel], (7, 7), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(found[..., channel], alone)


@pytest.mark.parametrize('dtype', ['bool', 'int8', 'int32', 'int64', 'float16'])
def test_a_dtype_that_opencv_does_not_resize_is_named(dtype):
    region = Region(np.ones((10, 10, 3), dtype), np.ones((10, 10), bool), (0, 0))
    with pytest.raises(ValueError, match=f'img has dtype {dtype} and can be resized in uint8, '):
        region.resized(0.7)


def test_the_sampler_s_class_is_pasted():
    transform, scenes = built()
    assert transform(scenes[FocusedIndex(2, 1)])['pasted'][0] == 1
    assert transform(scenes[FocusedIndex(2, 2)])['pasted'][0] == 2


def test_temperature_decides_between_classes():
    statistics_ = statistics()
    transform, _ = built(temperature=0.5)
    drawn = [transform(Scenes()[2])['pasted'][0] for _ in range(2000)]
    frequency = statistics_.pixels / statistics_.pixels.sum()
    expected = np.exp((1 - frequency) / 0.5)
    # image 2 has the common class only, which nothing is common enough to be covered by
    np.testing.assert_allclose(
        np.bincount(drawn, minlength=3) / 2000, expected / expected.sum(), atol=0.05
    )


def test_prob_and_classes_without_a_large_image():
    transform, scenes = built(prob=0.0)
    before = scenes[2]
    assert transform(before) is before
    transform, _ = built(min_pixels=10**6)
    assert 'pasted' not in transform(Scenes()[2])
    transform, _ = built(min_pixels=102)
    assert 'pasted' not in transform(Scenes().__getitem__(FocusedIndex(2, 2)))


def test_what_cannot_be_is_refused():
    for options, message in (
        (dict(prob=2), 'prob must be in'),
        (dict(temperature=0), 'temperature=0 must be above 0'),
        (dict(min_pixels=0), 'min_pixels must be at least 1'),
        (dict(max_regions=0), 'max_regions must be at least 1'),
        (dict(scale_range=(2, 1)), 'scale_range must be'),
        (dict(min_visible=0), 'min_visible must be in'),
        (dict(shift=-0.1), 'shift must be one or two numbers of at least 0'),
        (dict(shift=(0.1, 0.1, 0.1)), 'shift must be one or two'),
    ):
        with pytest.raises(ValueError, match=message):
            RareClassPaste(**options)
    with pytest.raises(RuntimeError, match='MultiImageMixDataset'):
        RareClassPaste()(Scenes()[0])
    transform, _ = built(statistics=ClassStatistics.from_rows(CLASSES, [[1, 1, 1]]))
    with pytest.raises(ValueError, match='1 images, the data set .* 3'):
        transform(Scenes()[0])


@pytest.fixture
def data(tmp_path):
    for kind in ('images', 'labels'):
        (tmp_path / kind).mkdir()
    for index in range(3):
        image, labels = scene(index)
        cv2.imwrite(str(tmp_path / f'images/{index}.jpg'), image)
        cv2.imwrite(str(tmp_path / f'labels/{index}.png'), labels)
    return tmp_path


def dataset_config(root) -> dict:
    return dict(
        type='MultiImageMixDataset',
        dataset=dict(
            type='BaseSegDataset',
            data_root=str(root),
            metainfo=dict(classes=CLASSES, palette=[[0, 0, 0], [0, 90, 0], [200, 0, 0]]),
            data_prefix=dict(img_path='images', seg_map_path='labels'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
        ),
        pipeline=[
            dict(type='RareClassPaste', prob=1.0, min_pixels=50, shift=0.0, scale_range=(1, 1)),
            dict(type='PackSegInputs'),
        ],
    )


class Looking(BaseModel):
    """Remembers how many pixels of the rare class it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.rare = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.rare += [int((sample.gt_sem_seg.data == 2).sum()) for sample in data_samples]
        return dict(loss=self.weight.sum())


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'RareClassSampler'])
def test_it_works_in_a_stock_training(data, tmp_path, monkeypatch, workers, sampler):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    runner = Runner(
        Looking(),
        str(tmp_path / 'work'),
        experiment_name=f'paste_{time.time_ns()}',
        train_dataloader=dict(
            dataset=dataset_config(data),
            batch_size=1,
            num_workers=workers,
            sampler=dict(type=sampler, shuffle=True),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=6),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_scope='mmseg',
        log_level='ERROR',
    )
    runner.train()
    # The rare class is pasted into all images but its own, where it would cover itself.
    assert set(runner.model.rare) <= {100, 101}
    assert 100 in runner.model.rare or sampler == 'RareClassSampler'


def test_the_picture(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    config = tmp_path / 'config.py'
    Config(dict(train_dataloader=dict(dataset=dataset_config(data)))).dump(config)
    parser = argparse.ArgumentParser()
    paste_figure.add_arguments(parser)
    out = tmp_path / 'paste.png'
    paste_figure.run(
        parser.parse_args(
            [str(config), '--images', '2', '--out', str(out), '--options', 'min_pixels=60']
        )
    )
    assert capsys.readouterr().out.count('pixels of rare') == 2
    assert out.stat().st_size > 1000
    init_default_scope('mmseg')
    plain = dataset_config(data)['dataset']
    mixed = DATASETS.build(paste_figure.mixed_dataset(plain, dict(min_pixels=50)))
    assert mixed.pipeline[0].prob == 1
    with pytest.raises(SystemExit, match='--images must be at least 1, got 0'):
        main(['plot', 'paste', str(config), '--images', '0'])
    with pytest.raises(
        SystemExit, match='--options nonsense: RareClassPaste has no such.*max_regions'
    ):
        main(['plot', 'paste', str(config), '--options', 'nonsense=3'])
    Config(dict(a=1)).dump(config)
    with pytest.raises(SystemExit, match='has no train_dataloader: give the config of a training'):
        main(['plot', 'paste', str(config)])
    with pytest.raises(ValueError, match='loads annotations'):
        paste_figure.mixed_dataset(dict(plain, pipeline=[]), {})
    with pytest.raises(ValueError, match='nothing could be pasted'):
        paste_figure.draw_pairs(
            DATASETS.build(paste_figure.mixed_dataset(plain, dict(min_pixels=10**6))), 1, 0
        )
