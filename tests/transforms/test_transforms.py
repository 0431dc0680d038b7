"""ClassCenteredCrop: where it cuts, for which class, and when it is a plain crop."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import numpy as np
import pytest
from mmcv.transforms.utils import cache_random_params
from mmengine.config import Config
from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import TRANSFORMS

from mmseg_balance.samplers import FocusedIndex
from mmseg_balance.statistics import ClassStatistics
from mmseg_balance.transforms import ClassCenteredCrop


def results_of(labels: np.ndarray, focus: int | None = None) -> dict:
    height, width = labels.shape
    image = np.stack([*np.mgrid[:height, :width], labels], axis=-1)  # pixels know where they are
    return dict(
        img=image,
        gt_seg_map=labels.copy(),
        seg_fields=['gt_seg_map'],
        sample_idx=FocusedIndex(0, focus),
    )


def scene() -> np.ndarray:
    """Class 0 nearly everywhere, some 1, five pixels of 2, one ignored corner."""
    labels = np.zeros((60, 80), dtype=np.uint8)
    labels[40:, :30] = 1
    labels[50, 70:75] = 2
    labels[:5, :5] = 255
    return labels


@pytest.mark.parametrize('focus', [1, 2])
def test_the_sampler_s_class_is_in_the_crop_and_in_its_middle(focus):
    crop = ClassCenteredCrop((11, 21), prob=1.0)
    for _ in range(50):
        found = crop(results_of(scene(), focus))
        image, labels = found['img'], found['gt_seg_map']
        assert image.shape == (11, 21, 3)
        assert found['img_shape'] == labels.shape == (11, 21)
        assert (image[..., 2] == labels).all()
        assert (labels == focus).any()
        row, column = image[5, 10, :2]
        if 5 <= row < 54 and 10 <= column < 69:  # not pushed back from a border
            near = scene()[row, column]
            assert near == focus


def test_every_pixel_of_the_class_is_chosen_alike():
    crop = ClassCenteredCrop(1, prob=1.0)
    columns = [int(crop(results_of(scene(), 2))['img'][0, 0, 1]) for _ in range(2000)]
    counts = np.bincount(columns, minlength=75)[70:75]
    assert counts.sum() == 2000
    assert abs(counts - 400).max() < 80  # 4.5 standard deviations


def test_rare_classes_come_first_when_no_class_was_chosen():
    labels = scene()
    counts = np.array([(labels == c).sum() for c in range(3)])
    frequency = counts / counts.sum()
    expected = np.exp((1 - frequency) / 0.3)
    crop = ClassCenteredCrop(1, prob=1.0, temperature=0.3)
    drawn = np.bincount(
        [int(crop(results_of(labels))['gt_seg_map'][0, 0]) for _ in range(2000)], minlength=3
    )
    np.testing.assert_allclose(drawn / 2000, expected / expected.sum(), atol=0.05)
    crop = ClassCenteredCrop(1, prob=1.0, temperature=1e-3)
    assert {int(crop(results_of(labels))['gt_seg_map'][0, 0]) for _ in range(30)} == {2}


def test_statistics_say_what_is_rare_in_the_data_set():
    # In the data set class 1 is the rare one, whatever this image shows.
    statistics = ClassStatistics.from_rows('abc', [[100, 1, 100]])
    crop = ClassCenteredCrop(1, prob=1.0, temperature=1e-3, statistics=statistics)
    assert {int(crop(results_of(scene()))['gt_seg_map'][0, 0]) for _ in range(30)} == {1}


def test_auto_statistics_are_looked_up_once(monkeypatch):
    calls = []
    statistics = ClassStatistics.from_rows('abc', [[1, 1, 1]])
    monkeypatch.setattr(
        'mmseg_balance.transforms.class_centered_crop.statistics_for_transform',
        lambda spec, dataset: calls.append(spec) or statistics,
    )
    crop = ClassCenteredCrop(4, prob=1.0, statistics='auto')
    assert not calls  # a data set is built before its run has begun
    for _ in range(3):
        crop(results_of(scene()))
    assert calls == ['auto']


@pytest.mark.parametrize(
    ('labels', 'focus'),
    [
        (scene(), 7),
        (np.full((60, 80), 255, dtype=np.uint8), None),
        (np.full((60, 80), 255, dtype=np.uint8), 1),
    ],
)
def test_an_absent_class_gives_a_plain_crop(labels, focus):
    found = ClassCenteredCrop((20, 30), prob=1.0)(results_of(labels, focus))
    assert found['gt_seg_map'].shape == (20, 30)


def test_prob_0_is_random_crop():
    for seed in range(5):
        np.random.seed(seed)  # noqa: NPY002
        ours = ClassCenteredCrop((20, 30), prob=0.0, cat_max_ratio=0.75)(results_of(scene(), 2))
        np.random.seed(seed)  # noqa: NPY002
        np.random.rand()  # noqa: NPY002  our question whether to crop around a class
        theirs = RandomCrop((20, 30), cat_max_ratio=0.75)(results_of(scene(), 2))
        np.testing.assert_array_equal(ours['img'], theirs['img'])


def test_prob_is_the_share_of_centred_crops():
    crop = ClassCenteredCrop(1, prob=0.3)
    hits = sum(int(crop(results_of(scene(), 2))['gt_seg_map'][0, 0] == 2) for _ in range(1000))
    assert hits / 1000 == pytest.approx(0.3, abs=0.06)


def test_only_drawn_leaves_other_images_to_random_crop():
    crop = ClassCenteredCrop((20, 30), prob=1.0, only_drawn=True)
    for seed in range(5):
        np.random.seed(seed)  # noqa: NPY002
        ours = crop(results_of(scene()))
        np.random.seed(seed)  # noqa: NPY002
        np.random.rand()  # noqa: NPY002  our question whether to crop around a class
        theirs = RandomCrop((20, 30))(results_of(scene()))
        np.testing.assert_array_equal(ours['img'], theirs['img'])
        assert (crop(results_of(scene(), 2))['gt_seg_map'] == 2).any()
    assert 'only_drawn=True' in repr(crop)


@pytest.mark.parametrize('dataset', ['cityscapes', 'voc12aug'])
def test_rota_bulo_s_configs_crop_around_the_drawn_class_alone(dataset):
    """A quarter of the crops was around it, another around a rare class of any image."""
    cfg = Config.fromfile(f'configs/deeplabv3-r101_lmp_{dataset}_rota_bulo.py')
    (options,) = (one for one in cfg.train_pipeline if one.type == 'ClassCenteredCrop')
    crop = TRANSFORMS.build({**options, 'crop_size': 1})
    images = [results_of(scene(), 2) for _ in range(50)] + [results_of(scene()) for _ in range(50)]
    centred = [int(crop(image)['gt_seg_map'][0, 0] == 2) for image in images]
    assert sum(centred[:50]) == 50
    assert sum(centred[50:]) <= 2  # of 4800 pixels, 5 are of class 2


@pytest.mark.parametrize(
    ('size', 'shape'),
    [((100, 30), (60, 30)), ((20, 200), (20, 80)), ((100, 200), (60, 80)), ((60, 80), (60, 80))],
)
def test_small_images_give_what_random_crop_gives(size, shape):
    found = ClassCenteredCrop(size, prob=1.0)(results_of(scene(), 2))
    theirs = RandomCrop(size)(results_of(scene(), 2))
    assert found['gt_seg_map'].shape == theirs['gt_seg_map'].shape == shape
    assert (found['gt_seg_map'] == 2).any()


def test_mixing_transforms_can_repeat_a_crop():
    crop = ClassCenteredCrop((9, 9), prob=0.5)
    with cache_random_params(crop):
        first, second = (crop(results_of(scene()))['img'] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert 'crop_size=(9, 9), prob=0.5' in repr(crop)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(prob=1.1), r'prob must be in \[0, 1\], got 1.1'),
        (dict(temperature=0), 'temperature=0 must be above 0'),
        (dict(crop_size=0), 'crop_size must be .* above 0, got 0'),
        (dict(crop_size=(8, -8)), 'crop_size must be .* above 0'),
        (dict(crop_size=(8,)), r'crop_size must be \(height, width\)'),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ClassCenteredCrop(**{'crop_size': 8, **options})


@pytest.mark.parametrize('ignore_index', [-1, -100])
def test_a_negative_ignore_index_leaves_no_class_out(ignore_index):
    labels = scene()
    labels[labels == 255] = 0
    crop = ClassCenteredCrop(1, prob=1.0, temperature=1e-3, ignore_index=ignore_index)
    assert int(crop(results_of(labels))['gt_seg_map'][0, 0]) == 2


def test_ignored_pixels_of_a_negative_label_are_no_class():
    """np.bincount raised on them."""
    labels = scene().astype(np.int64)
    labels[labels == 255] = -1
    for ignore_index in (-1, 255):
        crop = ClassCenteredCrop(1, prob=1.0, temperature=1e-3, ignore_index=ignore_index)
        assert int(crop(results_of(labels))['gt_seg_map'][0, 0]) == 2
    nothing = np.full((60, 80), -1)
    assert crop(results_of(nothing))['gt_seg_map'].shape == (1, 1)


def test_a_label_that_the_statistics_lack_is_named():
    statistics = ClassStatistics.from_rows('ab', [[1, 1]])
    with pytest.raises(ValueError, match='label 2 is no class of the statistics, which have 2'):
        ClassCenteredCrop(1, prob=1.0, statistics=statistics)(results_of(scene()))
