"""Train, dev and test: how many images each has, and that no two of them share any."""

import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_balance.datasets import (
    CamVidDataset,
    ChaseDB1SplitsDataset,
    ClothingCoParsingDataset,
    Split,
    StreetScenesDataset,
    street_scenes,
    write_street_scenes,
)
from mmseg_balance.datasets.splits import every_nth, last_of_each_video, of_subjects
from mmseg_balance.datasets.street_renderer import render_street_scene
from mmseg_balance.statistics.label_scan import LabelSource

BASES = ('camvid_dev_small', 'ccp_dev_small', 'chase_db1_dev_small', 'street_scenes_dev')
LOAD = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]


def stems(dataset) -> list[str]:
    """Names of the images, checked to be those of the label maps."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    names = [Path(info['img_path']).stem for info in infos]
    for name, info in zip(names, infos, strict=True):
        assert Path(info['seg_map_path']).name.startswith(name)
    return names


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Two videos of ten frames, five frames of a third one for test, in CamVid's layout."""
    root = tmp_path_factory.mktemp('camvid')
    names = dict(
        train=[f'{v}_{i:03d}' for v in ('A', 'B') for i in range(10)],
        val=['A_099'],
        test=[f'C_{i:03d}' for i in range(5)],
    )
    for folder, members in names.items():
        for kind, suffix in (('images', 'jpg'), ('labels', 'png')):
            (root / kind / folder).mkdir(parents=True)
            for index, name in enumerate(members):
                picture = np.full((4, 4), index % 11, np.uint8)
                cv2.imwrite(str(root / kind / folder / f'{name}.{suffix}'), picture)
    return str(root)


class TestRules:
    def test_the_end_of_each_video_in_time(self):
        frames = [f'a_{i:03d}' for i in range(10)] + [f'b_{i:03d}' for i in range(5)]
        shuffled = [*np.random.default_rng(0).permutation(frames)]
        held_out = last_of_each_video(shuffled, video=r'[^_]+', share=0.2)
        assert held_out == {'a_008', 'a_009', 'b_004'}

    def test_the_number_of_frames_is_rounded(self):
        for count in (1, 2, 3, 7, 13):
            frames = [f'a_{i:03d}' for i in range(count)]
            assert len(last_of_each_video(frames, video='a')) == round(0.2 * count)

    def test_every_nth(self):
        assert every_nth(['5', '1', '4', '2', '3', '6'], n=3) == {'3', '6'}

    def test_all_images_of_a_subject(self):
        names = ['s1L', 's1R', 's2L', 's3R']
        assert of_subjects(names, r's(\d)', ['1', '3']) == {'s1L', 's1R', 's3R'}

    @pytest.mark.parametrize('share', [0, 1, -0.5])
    def test_refuses_a_share_that_leaves_nothing(self, share):
        with pytest.raises(ValueError, match=r'share=.* between 0 and 1'):
            last_of_each_video(['a_1'], video='a', share=share)

    def test_refuses_to_hold_out_everything(self):
        with pytest.raises(ValueError, match='n=1'):
            every_nth(['a'], n=1)

    def test_names_the_file_that_does_not_match(self):
        with pytest.raises(ValueError, match=r"video='\[0-9\]\+' does not match .*'frame'"):
            last_of_each_video(['12_1', 'frame'], video='[0-9]+')

    def test_names_the_subject_without_an_image(self):
        with pytest.raises(ValueError, match=r"no image of \['7'\]; the subjects are \['1'\]"):
            of_subjects(['s1L'], r's(\d)', ['7'])


class TestNamedSplits:
    def load(self, root, **kwargs):
        return CamVidDataset(data_root=root, pipeline=LOAD, **kwargs)

    def test_what_each_split_holds(self, root):
        dev = stems(self.load(root, split='dev'))
        train = stems(self.load(root, split='train'))
        assert dev == ['A_008', 'A_009', 'B_008', 'B_009']
        assert train == [f'{v}_{i:03d}' for v in ('A', 'B') for i in range(8)]
        assert len(self.load(root, split='test')) == 5
        assert len(self.load(root, split='official_train')) == 20
        assert stems(self.load(root, split='official_val')) == ['A_099']

    def test_without_a_split_the_folders_decide(self, root):
        prefix = dict(img_path='images/train', seg_map_path='labels/train')
        assert len(self.load(root, data_prefix=prefix)) == 20

    def test_image_and_labels_belong_together(self, root):
        item = self.load(root, split='dev')[2]
        assert Path(item['img_path']).stem == 'B_008'
        assert (item['gt_seg_map'] == 18 % 11).all()

    def test_images_of_one_name_in_two_folders_are_told_apart(self, tmp_path):
        for video in ('A', 'B'):
            for kind, suffix in (('images', 'jpg'), ('labels', 'png')):
                (tmp_path / kind / 'train' / video).mkdir(parents=True)
                for frame in range(5 if video == 'A' else 4):
                    path = tmp_path / kind / 'train' / video / f'{frame}.{suffix}'
                    cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))

        class Videos(CamVidDataset):
            SPLITS = dict(
                dev=Split(
                    'images/train',
                    'labels/train',
                    only=partial(last_of_each_video, video='[AB]/', share=0.5),
                )
            )

        dev = Videos(data_root=str(tmp_path), split='dev')
        paths = [dev.get_data_info(i)['seg_map_path'].split('train/')[1] for i in range(len(dev))]
        assert paths == ['A/3.png', 'A/4.png', 'B/2.png', 'B/3.png']

    def test_refuses_a_split_that_it_does_not_have(self, root):
        with pytest.raises(
            ValueError, match=r"split='val' is not allowed; CamVidDataset has .*dev"
        ):
            self.load(root, split='val')

    def test_refuses_a_folder_beside_a_split(self, root):
        with pytest.raises(ValueError, match=r"split='dev' .*data_prefix=.*leave one of them out"):
            self.load(root, split='dev', data_prefix=dict(img_path='images/test'))
        with pytest.raises(ValueError, match=r"ann_file='list\.txt'"):
            self.load(root, split='dev', ann_file='list.txt')

    def test_statistics_of_a_split_are_its_own(self, root):
        """Class weights with statistics='auto' must not come from images held out."""
        train, official = (self.load(root, split=s) for s in ('train', 'official_train'))
        assert LabelSource(train).fingerprint() != LabelSource(official).fingerprint()


@pytest.mark.requires_data('camvid')
class TestCamVid:
    def names(self, repository, split):
        return stems(CamVidDataset(data_root=str(repository / 'data/camvid'), split=split))

    @pytest.mark.parametrize(
        ('split', 'count'),
        [
            ('train', 294),
            ('dev', 73),
            ('test', 233),
            ('official_train', 367),
            ('official_val', 101),
        ],
    )
    def test_counts(self, repository, split, count):
        assert len(self.names(repository, split)) == count

    def test_train_and_dev_part_the_official_training_set(self, repository):
        train, dev = (set(self.names(repository, s)) for s in ('train', 'dev'))
        assert not train & dev
        assert train | dev == set(self.names(repository, 'official_train'))

    def test_test_is_never_in_training(self, repository):
        test = set(self.names(repository, 'test'))
        for split in ('official_train', 'official_val'):
            assert not test & set(self.names(repository, split))

    def test_dev_comes_after_training_in_each_video(self, repository):
        def times(split):
            videos = {}
            for name in self.names(repository, split):
                video, frame = name.split('_')
                videos.setdefault(video, []).append(int(re.sub(r'\D', '', frame)))
            return videos

        train, dev = times('train'), times('dev')
        assert {v: len(f) for v, f in dev.items()} == {'0001TP': 12, '0006R0': 20, '0016E5': 41}
        assert {v: len(f) for v, f in train.items()} == {'0001TP': 50, '0006R0': 81, '0016E5': 163}
        assert all(max(train[video]) < min(dev[video]) for video in dev)


@pytest.mark.requires_data('ccp')
def test_clothing_co_parsing(repository):
    splits = {
        split: stems(ClothingCoParsingDataset(data_root=str(repository / 'data/ccp'), split=split))
        for split in ClothingCoParsingDataset.SPLITS
    }
    assert {split: len(names) for split, names in splits.items()} == dict(
        train=360, dev=89, test=150, official_train=449
    )
    assert splits['dev'] == splits['official_train'][4::5]
    assert sorted(splits['train'] + splits['dev']) == splits['official_train']
    assert not set(splits['test']) & set(splits['official_train'])


@pytest.mark.requires_data('chase_db1')
def test_chase_db1_is_split_by_subject(repository):
    root = str(repository / 'data/chase_db1')
    subjects = {}
    for split in ('train', 'dev', 'test'):
        names = stems(ChaseDB1SplitsDataset(data_root=root, split=split))
        subjects[split] = {re.match(r'Image_(\d+)[LR]', name).group(1) for name in names}
        assert len(names) == 2 * len(subjects[split])
    assert subjects['dev'] == {'09', '10'}
    assert subjects['test'] == {'11', '12', '13', '14'}
    assert subjects['train'] == {f'{i:02d}' for i in range(1, 9)}
    assert len(ChaseDB1SplitsDataset(data_root=root, split='official_train')) == 20


class TestStreetScenes:
    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch):
        monkeypatch.setattr(street_scenes, 'NUM_IMAGES', dict(train=2, val=1))
        monkeypatch.setattr(street_scenes, 'NUM_TEST_IMAGES', dict(test=2))

    def load(self, root, split):
        return StreetScenesDataset(data_root=str(root), split=split, pipeline=LOAD)

    def test_the_published_counts(self, monkeypatch):
        monkeypatch.undo()
        counts = street_scenes.NUM_IMAGES | street_scenes.NUM_TEST_IMAGES
        assert counts == dict(train=128, val=32, test=200)

    def test_each_split_has_scenes_of_its_own(self, tmp_path):
        train, dev = (self.load(tmp_path / 'a', split) for split in ('train', 'dev'))
        test = self.load(tmp_path / 'b', 'test')
        assert [len(dataset) for dataset in (train, dev, test)] == [2, 1, 2]
        pictures = {d[i]['img'].tobytes() for d in (train, dev, test) for i in range(len(d))}
        assert len(pictures) == 5

    def test_training_and_validation_scenes_are_as_before(self, tmp_path):
        """Seeds (data set, 0, image) and (data set, 1, image), as before there was a test split."""
        root = write_street_scenes(tmp_path / 'a', seed=3, num_workers=1)
        for split, seed in (('train', (3, 0, 0)), ('val', (3, 1, 0))):
            expected, _ = render_street_scene(seed, with_cyclist=False)
            written = cv2.imread(str(root / 'images' / split / '0000.png'))
            assert np.array_equal(written[..., ::-1], expected)

    def test_test_scenes_do_not_depend_on_what_is_written_with_them(self, tmp_path):
        alone = write_street_scenes(tmp_path / 'a', num_images=dict(test=1), num_workers=1)
        both = write_street_scenes(tmp_path / 'b', num_images=dict(train=1, test=1), num_workers=1)
        names = [root / 'images/test/0000.png' for root in (alone, both)]
        assert names[0].read_bytes() == names[1].read_bytes()

    def test_test_needs_a_folder_of_its_own(self, tmp_path):
        self.load(tmp_path / 'a', 'train')
        with pytest.raises(ValueError, match=r"not those of split='test'; give .* its own folder"):
            self.load(tmp_path / 'a', 'test')


class TestConfigs:
    @pytest.mark.parametrize('base', BASES)
    def test_train_choose_and_report_on_different_splits(self, base, repository):
        config = Config.fromfile(repository / f'configs/_base_/datasets/{base}.py')
        loaders = [config[f'{name}_dataloader'] for name in ('train', 'val', 'test')]
        assert [loader.dataset.split for loader in loaders] == ['train', 'dev', 'test']
        assert all('data_prefix' not in loader.dataset for loader in loaders)
        val, test = (loader.dataset.to_dict() for loader in loaders[1:])
        assert val['pipeline'] == test['pipeline'] != loaders[0].dataset.to_dict()['pipeline']
        assert config.val_evaluator == config.test_evaluator

    @pytest.mark.requires_data('camvid', 'ccp', 'chase_db1')
    @pytest.mark.parametrize('base', BASES[:3])
    def test_loads_labels_of_its_classes(self, base, repository, monkeypatch):
        init_default_scope('mmseg')
        monkeypatch.chdir(repository)
        config = Config.fromfile(f'configs/_base_/datasets/{base}.py')
        for name in ('train', 'val', 'test'):
            dataset = DATASETS.build(config[f'{name}_dataloader'].dataset)
            assert len(dataset.metainfo['classes']) == config.num_classes
            labels = dataset[0]['data_samples'].gt_sem_seg.data
            assert set(labels.unique().tolist()) <= {*range(config.num_classes), 255}
            assert (labels != 255).any()

    @pytest.mark.parametrize(('length', 'interval'), [(3000, 300), (12000, 1200)])
    def test_schedules_differ_from_the_short_one_in_length_alone(
        self, length, interval, repository
    ):
        folder = repository / 'configs/_base_/schedules'
        short, long = (Config.fromfile(folder / f'schedule_{n}.py') for n in (600, length))
        assert long.train_cfg.max_iters == length
        assert long.train_cfg.val_interval == interval
        assert long.param_scheduler[0].end == length
        assert long.optim_wrapper == short.optim_wrapper
        assert {**long.param_scheduler[0], 'end': 600} == short.param_scheduler[0]
