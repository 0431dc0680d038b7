"""Checks that need more than a config to be tried: GPUs, unread labels, an unlucky sample."""

import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mmseg_balance.doctor import examine_config, label_survey, pipeline_sample
from mmseg_balance.doctor.checks.splits import shared_images
from mmseg_balance.doctor.imbalance_view import class_rows
from mmseg_balance.doctor.pipeline_sample import PipelineSample
from mmseg_balance.doctor.reading import Reading
from mmseg_balance.statistics import ClassStatistics
from tests.doctor.samples import (
    a_pixel,
    balanced_batch_of_one,
    batch_of_one,
    from_one,
    last_batch_of_one,
    relabel,
    scheduled_in_epochs,
    sixteen_bits,
    tested,
    two_classes,
    with_metric,
    zero_reduced,
)


@pytest.mark.parametrize(
    ('gpus', 'batch_size', 'fails'), [(2, 3, True), (4, 3, False), (1, 4, False)]
)
def test_the_last_batch_is_that_of_one_gpu(root, config, gpus, batch_size, fails):
    last_batch_of_one(root, config)  # 7 images
    config.train_dataloader.batch_size = batch_size
    found = examine_config(config, gpus=gpus, progress=False).findings
    assert [one.check for one in found] == ['batch-of-one'] * fails


def test_the_batch_sampler_s_own_size_counts(root, config):
    """MMEngine gives it the loader's only where it has none."""
    balanced_batch_of_one(root, config)
    config.train_dataloader.batch_size = 1
    config.train_dataloader.batch_sampler.update(batch_size=2, min_images=2)
    assert examine_config(config, progress=False).findings == []


@pytest.mark.parametrize('spoil', [batch_of_one, last_batch_of_one])
def test_synchronised_batch_norm_has_the_images_of_all_gpus(root, config, spoil):
    spoil(root, config)
    config.model.backbone.norm_cfg.type = 'SyncBN'
    assert examine_config(config, gpus=2, progress=False).findings == []


def test_a_boundary_is_not_late_in_a_run_of_unknown_length(root, config):
    scheduled_in_epochs(root, config)
    found = examine_config(config, labels=False, progress=False).findings
    assert {one.check for one in found} == {'not-read'}


def test_a_class_in_no_sampled_image_is_not_said_to_be_lost(root, config, monkeypatch):
    with_metric(a_pixel((slice(4), 20), images=[3]))(root, config)
    monkeypatch.setattr(pipeline_sample, 'choose_images', lambda survey: [0, 1])
    examination = examine_config(config, progress=False)
    assert 'lost-in-crops' not in {one.check for one in examination.findings}
    rare = class_rows(examination)[-1]
    assert (rare.name, rare.crops, rare.iterations) == ('class 3', '', '')


def test_where_the_pipeline_fails_on_every_image_no_check_fails(root, config):
    """An empty list was taken for an array of floating-point numbers."""
    with_metric(a_pixel((slice(4), 20)))(root, config)
    for path in (root / 'images/train').iterdir():
        path.write_bytes(b'no image')
    (root / 'images/train/0.jpg').write_bytes((root / 'images/val/0.jpg').read_bytes())
    found = examine_config(config, progress=False).findings
    assert 'check-failed' not in {one.check for one in found}
    assert np.isnan(PipelineSample(num_classes=2).survival(np.zeros((0, 2), bool))).all()


def test_a_16_bit_label_map_has_its_remedy(root, config):
    """The remedy was cut off, and an index error foretold that does not come."""
    sixteen_bits(root, config)
    found = examine_config(config, progress=False).findings
    changes = [one.change for one in found if one.check == 'label-range']
    assert changes == ['store classes as 8-bit values'] * 2


def test_images_of_rare_classes_come_before_the_spread():
    rows = np.ones((300, 2), dtype=int)
    rows[:, 1] = np.arange(300) == 77
    survey = SimpleNamespace(statistics=ClassStatistics.from_rows('ab', rows))
    images = pipeline_sample.choose_images(survey)
    assert images[0] == 77
    assert {0, 299} < set(images)
    assert len(images) == len(set(images))


def test_what_failed_imports_leave_unread_is_named(config):
    config.custom_imports = dict(imports=['no_such_package'])
    config.train_dataloader.batch_size = 1
    found = examine_config(config, progress=False).findings
    assert [one.where for one in found if one.check == 'not-read'] == ['evaluation', 'model']


def test_a_rare_last_class_is_not_a_lost_zero(root, config, monkeypatch):
    """The values of a sample were taken for those of all label maps of all splits."""
    monkeypatch.setattr(label_survey, 'STORED_SAMPLE', 2)
    zero_reduced(root, config)  # 0 is unlabelled, and class 3 is stored as 4, in one image
    relabel(root, lambda labels: np.where(labels == 0, 4, labels), 'train', '3')
    found = examine_config(config, progress=False).findings
    assert {one.check for one in found if one.severity != 'advice'} == {'one-split-only'}


def test_labels_are_examined_where_their_count_cannot_be_kept(config, tmp_path, monkeypatch):
    """Every check that looks at labels failed, though all of them had been read."""
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'file' / 'statistics'))
    assert examine_config(config, progress=False).findings == []


def test_a_damaged_count_is_made_again(config, tmp_path):
    """Every check that looks at labels failed, as long as the file was there."""
    examine_config(config, progress=False)
    (kept, *_) = sorted(tmp_path.glob('statistics/*.npz'))
    whole = kept.read_bytes()
    kept.write_bytes(whole[:50])
    assert examine_config(config, progress=False).findings == []
    assert kept.read_bytes() == whole


def range_fixes(config):
    found = examine_config(config, progress=False).findings
    return [one.fix for one in found if one.check == 'label-range']


@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_void_label_above_the_classes_is_not_shifted(root, config, split):
    """Class 0 was made the ignored label where the label maps with void do not have it."""
    relabel(root, lambda labels: np.where(labels == 0, 4, labels), split, '3')
    assert range_fixes(config) == [None]


def test_a_void_label_in_more_label_maps_than_are_described_is_not_shifted(
    root, config, monkeypatch
):
    """Only the first of them were searched for class 0."""
    monkeypatch.setattr(label_survey, 'MAX_FAILURES_READ', 2)
    relabel(root, lambda labels: np.where(labels == 0, 4, labels))
    relabel(root, lambda labels: np.where(labels == 1, 0, labels), 'train', '7')
    assert range_fixes(config) == [None, None]


def test_labels_from_one_are_shifted_in_the_pipeline_too(root, config):
    """A step that named the old value was left: MMSegmentation asks for the same in both."""
    from_one(root, config)
    steps = config.val_dataloader.dataset.pipeline
    steps[1].reduce_zero_label = False
    first, second = range_fixes(config)
    assert first == second
    assert set(first.values()) == {True}
    assert set(first) == {
        'train_dataloader.dataset.reduce_zero_label',
        'val_dataloader.dataset.reduce_zero_label',
        'val_dataloader.dataset.pipeline.1.reduce_zero_label',
    }


def test_a_foreground_outside_the_sample_is_no_0_255_mask(root, config, monkeypatch):
    """Values of a sample were taken for those of all label maps."""
    monkeypatch.setattr(label_survey, 'STORED_SAMPLE', 2)
    two_classes(root, config)
    relabel(root, lambda labels: np.where(labels == 1, 255, 0), 'train')
    relabel(root, lambda labels: np.where(labels == 255, 1, 0), 'train', '3')
    found = examine_config(config, progress=False).findings
    assert [one for one in found if one.severity != 'advice'] == []


def test_the_metrics_of_the_test_ignore_the_same_label(root, config):
    """Those of the validation alone were looked at, and changed."""
    tested(root, config)
    for split in ('val', 'test'):
        config[f'{split}_evaluator'] = [dict(type='IoUMetric', ignore_index=0)]
    (found,) = examine_config(config, labels=False, progress=False).findings[:1]
    keys = [f'{split}_evaluator.0.ignore_index' for split in ('val', 'test')]
    assert (found.check, found.fix) == ('metric-ignore-index', dict.fromkeys(keys, 255))
    config.val_evaluator[0].ignore_index = 255
    (found,) = examine_config(config, labels=False, progress=False).findings[:1]
    assert (found.check, list(found.fix)) == ('metric-ignore-index', keys[1:])


def test_images_with_equal_borders_are_not_the_same(root, config):
    """The first and last 64 KB of uncompressed images are often alike."""
    rng = np.random.default_rng(0)
    for path in sorted(root.glob('images/*/*.jpg')):
        image = np.zeros((320, 480, 3), np.uint8)
        image[80:-80] = rng.integers(0, 256, (160, 480, 3))
        cv2.imwrite(str(path.with_suffix('.bmp')), image)
        path.unlink()
    for split in ('train', 'val'):
        config[f'{split}_dataloader'].dataset.img_suffix = '.bmp'
    reading = Reading(config, progress=False)
    assert shared_images(reading.train, reading.val) == []
    twin, path = str(root / 'images/train/5.bmp'), str(root / 'images/val/2.bmp')
    shutil.copy(twin, path)
    assert shared_images(reading.train, reading.val) == [(twin, path)]
