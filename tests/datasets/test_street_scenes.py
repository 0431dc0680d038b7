"""The rendered street scenes: what they hold, and that they are written once and whole."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_balance.datasets import StreetScenesDataset, street_scenes, write_street_scenes
from mmseg_balance.datasets.street_renderer import CLASSES, render_street_scene

FEW = dict(train=3, val=2)


def read_labels(root, split):
    files = sorted((root / 'labels' / split).glob('*.png'))
    return np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in files])


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def full(tmp_path_factory):
    return write_street_scenes(tmp_path_factory.mktemp('full') / 'street_scenes')


class TestScenes:
    def test_the_same_seed_gives_the_same_bytes(self):
        first, again = render_street_scene((0, 0, 5)), render_street_scene((0, 0, 5))
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not np.array_equal(first[0], render_street_scene((0, 0, 6))[0])

    def test_counts_and_sizes(self, full):
        assert read_labels(full, 'train').shape == (128, 128, 256)
        assert read_labels(full, 'val').shape == (32, 128, 256)
        assert cv2.imread(str(full / 'images/train/0000.png')).shape == (128, 256, 3)

    def test_long_tail(self, full):
        labels = read_labels(full, 'train')
        share = np.bincount(labels.ravel(), minlength=10) / labels.size
        assert share.max() > 0.30
        assert np.argmin(share) == CLASSES.index('cyclist')
        assert 0.0002 < share.min() < 0.001

    def test_rare_classes_are_absent_from_most_images(self, full):
        labels = read_labels(full, 'train').reshape(128, -1)
        present = {name: (labels == c).any(axis=1).mean() for c, name in enumerate(CLASSES)}
        assert 0.08 <= present['cyclist'] <= 0.12
        assert present['pedestrian'] < 0.5
        assert present['sign'] < 0.5

    def test_validation_has_every_class(self, full):
        labels = read_labels(full, 'val').reshape(32, -1)
        pixels = np.bincount(labels.ravel(), minlength=10)
        images = [(labels == c).any(axis=1).sum() for c in range(10)]
        assert min(images) >= 3
        assert min(pixels) >= 400

    def test_pictures_are_not_flat(self, full):
        """Noise and light differ: no two of the first images have the same mean colour."""
        means = [
            cv2.imread(str(full / f'images/train/{i:04d}.png')).mean(axis=(0, 1)) for i in range(8)
        ]
        assert np.ptp(means, axis=0).min() > 20


class TestWriting:
    def test_any_number_of_workers_gives_the_same_bytes(self, tmp_path):
        one = write_street_scenes(tmp_path / 'one', num_images=FEW, num_workers=1)
        two = write_street_scenes(tmp_path / 'two', num_images=FEW, num_workers=2)
        assert contents(one) == contents(two)

    def test_a_whole_folder_is_left_alone(self, tmp_path):
        root = write_street_scenes(tmp_path / 'a', num_images=FEW, num_workers=1)
        before = (root / street_scenes.MARKER).stat().st_mtime_ns
        write_street_scenes(root, num_images=FEW)
        assert (root / street_scenes.MARKER).stat().st_mtime_ns == before

    def test_another_number_of_scenes_is_refused_not_ignored(self, tmp_path):
        root = write_street_scenes(tmp_path / 'a', num_images=FEW, num_workers=1)
        assert write_street_scenes(root) == root  # no number is asked for
        with pytest.raises(ValueError, match=r"not num_images=\{'train': 7\}; give each its own"):
            write_street_scenes(root, num_images=dict(train=7))

    def test_scenes_of_a_split_depend_on_its_name_alone_whatever_it_is(self, tmp_path):
        names = 'calibration', 'holdout'
        for name in names:
            write_street_scenes(tmp_path / name, num_images={name: 1}, num_workers=1)
        both = write_street_scenes(
            tmp_path / 'both', num_images=dict(holdout=1, calibration=1), num_workers=1
        )
        scenes = [f'images/{name}/0000.png' for name in names]
        alone = [(tmp_path / n / s).read_bytes() for n, s in zip(names, scenes, strict=True)]
        assert alone[0] != alone[1]
        assert [(both / scene).read_bytes() for scene in scenes] == alone

    def test_several_processes_at_once(self, tmp_path):
        context = multiprocessing.get_context('fork')
        writers = [context.Process(target=_write_and_note, args=(tmp_path, i)) for i in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        notes = {(tmp_path / f'note{i}').read_text() for i in range(3)}
        assert notes == {str((tmp_path / 'a' / street_scenes.MARKER).stat().st_ino)}
        assert not list(tmp_path.glob('.a.*.partial'))

    def test_a_killed_writer_leaves_nothing_in_the_way(self, tmp_path):
        writer = multiprocessing.get_context('fork').Process(
            target=write_street_scenes, args=(tmp_path / 'a', 0, dict(train=500), 1)
        )
        writer.start()
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob('.a.*.partial/images/train/*.png')):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert not (tmp_path / 'a').exists()
        root = write_street_scenes(tmp_path / 'a', num_images=FEW, num_workers=1)
        assert len(list(root.glob('images/train/*.png'))) == 3
        assert not list(tmp_path.glob('.a.*.partial'))

    def test_a_half_written_folder_is_replaced(self, tmp_path):
        (tmp_path / 'a' / 'images' / 'train').mkdir(parents=True)
        (tmp_path / 'a' / 'images' / 'train' / '9999.png').write_bytes(b'half')
        root = write_street_scenes(tmp_path / 'a', num_images=FEW, num_workers=1)
        assert not (root / 'images' / 'train' / '9999.png').exists()
        assert json.loads((root / street_scenes.MARKER).read_text())['num_images'] == FEW

    def test_files_of_others_are_never_replaced(self, tmp_path):
        (tmp_path / 'thesis.tex').write_text('mine')
        with pytest.raises(ValueError, match='data_root=.*thesis.tex'):
            write_street_scenes(tmp_path, num_images=FEW)
        assert (tmp_path / 'thesis.tex').read_text() == 'mine'

    @pytest.mark.parametrize('target', ['absolute', 'relative', 'dangling'])
    def test_the_folder_may_be_a_link_to_another_disk(self, tmp_path, target):
        """The link was deleted, and the scenes were not written."""
        disk, link = tmp_path / 'disk' / 'scenes', tmp_path / 'link'
        link.symlink_to('disk/scenes' if target == 'relative' else disk)
        if target != 'dangling':
            disk.mkdir(parents=True)
        write_street_scenes(link, num_images=FEW, num_workers=1)
        assert link.is_symlink()
        assert len(list(disk.glob('images/train/*.png'))) == 3

    def test_another_seed_is_refused(self, tmp_path):
        root = write_street_scenes(tmp_path / 'a', num_images=FEW, num_workers=1)
        with pytest.raises(ValueError, match='seed 0, not of seed=1'):
            write_street_scenes(root, seed=1)

    def test_pictures_of_another_renderer_are_refused(self, tmp_path, monkeypatch):
        root = write_street_scenes(tmp_path / 'a', num_images=FEW, num_workers=1)
        monkeypatch.setattr(street_scenes, 'RENDERER', street_scenes.RENDERER + 1)
        with pytest.raises(ValueError, match='another version of the renderer'):
            write_street_scenes(root)


class TestDataset:
    def test_renders_what_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(street_scenes, 'NUM_IMAGES', FEW)
        dataset = StreetScenesDataset(
            data_root=str(tmp_path / 'a'),
            data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')],
        )
        assert len(dataset) == 2
        assert dataset.metainfo['classes'] == CLASSES
        assert dataset[0]['img'].shape == (128, 256, 3)
        assert dataset[0]['gt_seg_map'].max() < len(CLASSES)

    def test_can_be_told_not_to_render(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            StreetScenesDataset(data_root=str(tmp_path / 'a'), render=False)

    def test_the_test_split_has_a_folder_of_its_own_by_default(self, tmp_path, monkeypatch):
        """Its scenes were rendered to where train and dev then looked for theirs."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(street_scenes, 'NUM_TEST_IMAGES', {'test': 1})
        assert len(StreetScenesDataset(split='test')) == 1
        assert not Path('data/street_scenes').exists()

    def test_needs_a_folder(self):
        with pytest.raises(ValueError, match='data_root=None'):
            StreetScenesDataset(data_root=None)


def _write_and_note(folder, index):
    root = write_street_scenes(folder / 'a', num_images=FEW, num_workers=1)
    (folder / f'note{index}').write_text(str((root / street_scenes.MARKER).stat().st_ino))
