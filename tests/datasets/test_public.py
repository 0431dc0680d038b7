"""CamVid, SBD and SYNTHIA, on small files in the layout of the releases."""

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmseg_balance.cli import main
from mmseg_balance.datasets import CamVidDataset, SBDDataset, SynthiaDataset
from mmseg_balance.datasets.label_conversion import convert_sbd, convert_synthia, split_synthia

LOAD = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


@pytest.mark.parametrize(
    'name', ['CamVidDataset', 'SBDDataset', 'StreetScenesDataset', 'SynthiaDataset']
)
def test_registered_with_a_colour_for_each_class(name):
    info = DATASETS.get(name).METAINFO
    assert len(info['classes']) == len(info['palette']) == len({*map(tuple, info['palette'])})


class TestCamVid:
    @pytest.fixture
    def prefix(self):
        return dict(img_path='images/train', seg_map_path='labels/train')

    def test_void_is_ignored_and_nothing_else_changes(self, tiny_camvid, prefix):
        dataset = CamVidDataset(data_root=str(tiny_camvid), data_prefix=prefix, pipeline=LOAD)
        raw = cv2.imread(str(tiny_camvid / 'labels/train/0.png'), cv2.IMREAD_UNCHANGED)
        assert (raw == 11).any()
        assert np.array_equal(dataset[0]['gt_seg_map'], np.where(raw == 11, 255, raw))

    def test_some_of_the_classes(self, tiny_camvid, prefix):
        dataset = CamVidDataset(
            data_root=str(tiny_camvid),
            data_prefix=prefix,
            pipeline=LOAD,
            metainfo=dict(classes=('car', 'sky')),
        )
        raw = cv2.imread(str(tiny_camvid / 'labels/train/0.png'), cv2.IMREAD_UNCHANGED)
        expected = np.full_like(raw, 255)
        expected[raw == 8], expected[raw == 0] = 0, 1
        assert np.array_equal(dataset[0]['gt_seg_map'], expected)
        assert dataset.metainfo['palette'] == [[64, 0, 128], [128, 128, 128]]

    @pytest.mark.requires_data('camvid')
    def test_the_real_one(self, repository):
        train, val = (
            CamVidDataset(
                data_root=str(repository / 'data/camvid'),
                pipeline=LOAD,
                data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}'),
            )
            for split in ('train', 'val')
        )
        assert (len(train), len(val)) == (367, 101)
        labels = train[0]['gt_seg_map']
        assert set(np.unique(labels)) <= {*range(11), 255}


class TestSBD:
    @pytest.fixture
    def root(self, tmp_path):
        io = pytest.importorskip('scipy.io')
        (tmp_path / 'cls').mkdir()
        labels = np.zeros((6, 8), np.uint8)
        labels[2:4, 3:6] = 15
        struct = dict(Segmentation=labels, Boundaries=np.zeros(20), CategoriesPresent=[15])
        io.savemat(tmp_path / 'cls' / '2008_000002.mat', dict(GTcls=struct))
        write(tmp_path / 'img' / '2008_000002.jpg', np.zeros((6, 8, 3), np.uint8))
        (tmp_path / 'train.txt').write_text('2008_000002\n')
        return tmp_path

    def test_converts_and_loads(self, root):
        assert convert_sbd(root, num_workers=1) == 1
        dataset = SBDDataset(
            data_root=str(root),
            ann_file='train.txt',
            pipeline=LOAD,
            data_prefix=dict(img_path='img', seg_map_path='labels'),
        )
        labels = dataset[0]['gt_seg_map']
        assert dataset.metainfo['classes'][15] == 'person'
        assert labels.shape == (6, 8)
        assert (labels == 15).sum() == 6
        assert (labels == 0).sum() == 42

    def test_says_what_is_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'cls/\*\.mat'):
            convert_sbd(tmp_path)

    @pytest.mark.parametrize('content', [b'', b'no labels'], ids=['empty', 'foreign'])
    def test_a_file_that_cannot_be_read_is_named_on_a_line_of_its_own(self, root, capsys, content):
        path = root / 'cls' / '2008_000002.mat'
        path.write_bytes(content)
        with pytest.raises(SystemExit, match=f'^error: {path} is no label file of SBD'):
            main(['convert_labels', 'sbd', str(root), '--nproc', '1'])
        assert capsys.readouterr().out.endswith('\n')

    def test_a_file_of_something_else_is_named(self, root):
        path = root / 'cls' / '2008_000002.mat'
        pytest.importorskip('scipy.io').savemat(path, dict(other=1))
        with pytest.raises(OSError, match=f'^{path} is no label file of SBD .KeyError'):
            convert_sbd(root, num_workers=1)

    def test_a_value_beyond_8_bits_is_not_cut_off(self, root):
        """300 became class 44."""
        path = root / 'cls' / '2008_000002.mat'
        struct = dict(Segmentation=np.full((6, 8), 300, np.uint16))
        pytest.importorskip('scipy.io').savemat(path, dict(GTcls=struct))
        with pytest.raises(OSError, match=f'^{path} has labels 300 to 300'):
            convert_sbd(root, num_workers=1)

    @pytest.mark.parametrize('number', ['0', '-3'])
    def test_a_number_of_processes_is_at_least_one(self, root, number):
        with pytest.raises(SystemExit, match=f'--nproc must be at least 1, got {number}'):
            main(['convert_labels', 'sbd', str(root), f'--nproc={number}'])


class TestSynthia:
    @pytest.fixture
    def labels(self):
        """16-bit, class in the first channel of the file (the last for OpenCV), instance next."""
        raw = np.zeros((4, 6, 3), np.uint16)
        raw[..., 2] = [[0, 1, 2, 3, 8, 12]] * 4
        raw[..., 1] = 777
        return raw

    def load(self, root, **kwargs):
        return SynthiaDataset(data_root=str(root), pipeline=LOAD, **kwargs)

    def test_sequence(self, tmp_path, labels):
        base = tmp_path / 'SYNTHIA-SEQS-01-SUMMER'
        write(base / 'GT/LABELS/Stereo_Left/Omni_F/000000.png', labels)
        write(base / 'RGB/Stereo_Left/Omni_F/000000.png', np.zeros((4, 6, 3), np.uint8))
        assert convert_synthia(tmp_path, num_workers=1) == 1
        dataset = self.load(tmp_path)
        names = [dataset.metainfo['classes'][i] for i in dataset[0]['gt_seg_map'][0, 1:]]
        assert names == ['sky', 'building', 'road', 'car', 'lane marking']
        assert dataset[0]['gt_seg_map'][0, 0] == 255

    def test_sequence_with_its_own_classes(self, tmp_path, labels):
        base = tmp_path / 'SYNTHIA-SEQS-01-SUMMER'
        write(base / 'GT/LABELS/Stereo_Left/Omni_F/000000.png', labels)
        write(base / 'RGB/Stereo_Left/Omni_F/000000.png', np.zeros((4, 6, 3), np.uint8))
        convert_synthia(tmp_path, num_workers=1)
        dataset = self.load(tmp_path, metainfo=dict(classes=('lane marking', 'car')))
        assert dataset[0]['gt_seg_map'][0].tolist() == [255, 255, 255, 255, 1, 0]

    def test_rand_cityscapes(self, tmp_path, labels):
        write(tmp_path / 'RAND_CITYSCAPES/GT/LABELS/0000000.png', labels)
        write(tmp_path / 'RAND_CITYSCAPES/RGB/0000000.png', np.zeros((4, 6, 3), np.uint8))
        convert_synthia(tmp_path, num_workers=1)
        dataset = self.load(tmp_path)
        assert dataset.metainfo['classes'][dataset[0]['gt_seg_map'][0, 5]] == 'motorcycle'

    def test_a_folder_above_the_archive_does_not_make_it_a_sequence(self, tmp_path, labels):
        root = tmp_path / 'SYNTHIA-SEQS-and-RAND'
        write(root / 'RAND_CITYSCAPES/GT/LABELS/0000000.png', labels)
        write(root / 'RAND_CITYSCAPES/RGB/0000000.png', np.zeros((4, 6, 3), np.uint8))
        convert_synthia(root, num_workers=1)
        dataset = self.load(root)
        assert dataset.metainfo['classes'][dataset[0]['gt_seg_map'][0, 5]] == 'motorcycle'

    @pytest.mark.parametrize('root', ['.', '../link'])
    def test_the_root_may_be_the_archive_itself_or_a_link_to_it(
        self, tmp_path, monkeypatch, labels, root
    ):
        """Neither has the archive's name: lane marking became motorcycle, without a word."""
        base = tmp_path / 'SYNTHIA-SEQS-01-SUMMER'
        write(base / 'GT/LABELS/000000.png', labels)
        (tmp_path / 'link').symlink_to(base)
        monkeypatch.chdir(base)
        convert_synthia(root, num_workers=1)
        converted = cv2.imread(str(base / 'GT/LABELS_8BIT/000000.png'), cv2.IMREAD_UNCHANGED)
        assert SynthiaDataset.METAINFO['classes'][converted[0, 5]] == 'lane marking'

    def test_an_archive_of_another_name_is_refused_before_anything_is_written(
        self, tmp_path, labels
    ):
        """It was taken for RAND-CITYSCAPES, which has lane marking at another number."""
        write(tmp_path / 'RAND_CITYSCAPES/GT/LABELS/0.png', labels)
        write(tmp_path / 'summer/GT/LABELS/0.png', labels)
        with pytest.raises(SystemExit, match='error: .*summer: .* such as SYNTHIA-SEQS-01-SUMMER'):
            main(['convert_labels', 'synthia', str(tmp_path), '--nproc', '1'])
        assert not list(tmp_path.rglob('LABELS_8BIT'))

    def test_folders_that_are_not_looked_at_are_refused(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"data_prefix=\{'img_path': 'RAND'\}: .* leave data_prefix"
        ):
            self.load(tmp_path, data_prefix=dict(img_path='RAND'))
        (tmp_path / 'train.txt').write_text('Stereo_Left/000000\n')
        with pytest.raises(ValueError, match=r"'Stereo_Left/000000.png' is in no folder RGB"):
            self.load(tmp_path, ann_file='train.txt')

    def test_split_is_a_partition(self, tmp_path):
        for i in range(20):
            write(tmp_path / f'SEQS/RGB/{i:06d}.png', np.zeros((2, 2, 3), np.uint8))
            write(tmp_path / f'SEQS/GT/LABELS_8BIT/{i:06d}.png', np.zeros((2, 2), np.uint8))
        assert split_synthia(tmp_path) == dict(train=14, val=2, test=4)
        names = [set((tmp_path / f'{s}.txt').read_text().split()) for s in ('train', 'val', 'test')]
        assert len(set.union(*names)) == 20
        assert len(self.load(tmp_path, ann_file='train.txt')) == 14

    def test_says_what_is_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='GT/LABELS'):
            convert_synthia(tmp_path)

    @pytest.mark.parametrize('release', ['sbd', 'synthia'])
    def test_the_command_says_what_is_missing_in_a_sentence(self, tmp_path, release):
        with pytest.raises(SystemExit, match='error: root=.*unpack the release there'):
            main(['convert_labels', release, str(tmp_path)])
