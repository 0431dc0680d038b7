"""Statistics: the counts are those of the pipeline's labels, and the file can be trusted."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmengine import Config, MessageHub
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.registry import init_default_scope
from mmengine.runner.runner import _SlicedDataset
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_balance.datasets import CamVidDataset
from mmseg_balance.statistics import (
    ClassStatistics,
    LabelSource,
    auto,
    build_training_set,
    load_statistics,
    statistics_path,
    unwrap,
)
from mmseg_balance.statistics.label_scan import count_labels
from mmseg_balance.statistics.shards import cores_of, scan_shard, shard_of
from mmseg_balance.statistics.table import statistics_table
from tests.support.ranks import run_ranks
from tests.support.references_sampling import count_labels as slow_count

LOAD = [dict(type='LoadAnnotations')]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Statistics found by 'auto' go to a folder of the test's own."""
    init_default_scope('mmseg')
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))


def write_labels(root: Path, maps: list[np.ndarray], palette: bool = False) -> Path:
    for kind in ('images', 'labels'):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for index, labels in enumerate(maps):
        (root / 'images' / f'{index:03d}.jpg').touch()
        image = Image.fromarray(labels.astype(np.uint8))
        if palette:
            image = image.convert('P')
            image.putdata(labels.ravel().tolist())
        image.save(root / 'labels' / f'{index:03d}.png')
    return root


def make_dataset(root: Path, num_classes: int, kind=BaseSegDataset, **kwargs) -> BaseSegDataset:
    kwargs.setdefault('metainfo', dict(classes=tuple(f'c{c}' for c in range(num_classes))))
    return kind(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=kwargs.pop('pipeline', LOAD),
        **kwargs,
    )


class FiveClasses(BaseSegDataset):
    METAINFO = dict(classes=('c0', 'c1', 'c2', 'c3', 'c4'), palette=[[0, 0, 0]] * 5)


@pytest.mark.parametrize('palette', [False, True])
@pytest.mark.parametrize(
    ('options', 'kind', 'values'),
    [
        (dict(), BaseSegDataset, (0, 1, 2, 3, 4, 255)),
        (dict(ignore_index=5), BaseSegDataset, (0, 1, 2, 3, 4, 5)),
        (dict(reduce_zero_label=True), BaseSegDataset, (0, 1, 2, 3, 4, 5, 255)),
        (dict(metainfo=dict(classes=('c3', 'c1'))), FiveClasses, (0, 1, 2, 3, 4, 255)),
        (
            dict(metainfo=dict(classes=('c3', 'c1')), reduce_zero_label=True),
            FiveClasses,
            (0, 1, 2, 3, 4, 5, 255),
        ),
    ],
)
def test_counts_are_those_of_the_pipeline(tmp_path, options, kind, values, palette):
    rng = np.random.default_rng(0)
    maps = [rng.choice(values, (9, 7 + i)) for i in range(5)]
    dataset = make_dataset(write_labels(tmp_path, maps, palette), 5, kind, **options)
    found = ClassStatistics.scan(dataset, workers=0, progress=False)
    for i in range(5):
        labels = dataset[i]['gt_seg_map']  # what training sees
        counts, ignored = slow_count(labels, found.num_classes, dataset.ignore_index)
        row = np.zeros(found.num_classes, dtype=int)
        row[found.classes_of(i)] = found.counts[found.indptr[i] : found.indptr[i + 1]]
        assert row.tolist() == counts
        assert found.ignored[i] == ignored
    assert found.pixels.sum() + found.ignored_pixels == sum(m.size for m in maps)


class ShiftedAnnotations:
    """A user's own loader: labels are the stored values minus ten."""

    def __call__(self, results):
        results['gt_seg_map'] = np.array(Image.open(results['seg_map_path'])).astype(np.int64) - 10
        return results


def test_a_loader_of_ones_own_is_run(tmp_path):
    root = write_labels(tmp_path, [np.array([[10, 11], [12, 10]])])
    dataset = make_dataset(root, 3, pipeline=[ShiftedAnnotations(), lambda results: 1 / 0])
    assert ClassStatistics.scan(dataset, progress=False).pixels.tolist() == [2, 1, 1]


def test_a_label_that_is_no_class_is_refused_by_file_value_and_remedy(tmp_path):
    root = write_labels(tmp_path, [np.zeros((2, 2)), np.array([[0, 7], [7, 255]])])
    with pytest.raises(
        ValueError,
        match=r'001\.png: label 7 \(2 pixels\).*3 classes.*ignored '
        r'255.*reduce_zero_label',
    ):
        ClassStatistics.scan(make_dataset(root, 3), progress=False)
    assert not list(tmp_path.glob('auto/*'))


def test_colour_label_maps_and_missing_loaders_and_classes_are_refused(tmp_path):
    root = write_labels(tmp_path, [np.zeros((4, 5, 3))])
    with pytest.raises(ValueError, match=r'000\.png.*shape \(4, 5, 3\)'):
        ClassStatistics.scan(make_dataset(root, 3), progress=False)
    with pytest.raises(ValueError, match='LoadAnnotations'):
        ClassStatistics.scan(make_dataset(root, 3, pipeline=[]), progress=False)
    with pytest.raises(ValueError, match='metainfo'):
        ClassStatistics.scan(make_dataset(root, 3, metainfo=None), progress=False)


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
@pytest.mark.parametrize('kept', [60, 20, 0])
def test_a_damaged_label_map_is_named(tmp_path, backend, kept):
    root = write_labels(tmp_path, [np.random.default_rng(0).integers(0, 2, (40, 40))])
    path = root / 'labels' / '000.png'
    path.write_bytes(path.read_bytes()[:kept])
    dataset = make_dataset(
        root, 2, pipeline=[dict(type='LoadAnnotations', imdecode_backend=backend)]
    )
    with pytest.raises(
        ValueError, match=r'000\.png: cannot be decoded \([^<]+\); replace the file'
    ):
        ClassStatistics.scan(dataset, progress=False)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'000\.png'):
        ClassStatistics.scan(dataset, progress=False)


def test_processes_give_what_one_gives(tmp_path):
    rng = np.random.default_rng(0)
    root = write_labels(tmp_path, [rng.integers(0, 3, (4, 4)) for _ in range(150)])
    source = LabelSource(make_dataset(root, 3))
    for one, two in zip(
        count_labels(source, workers=0, progress=False),
        count_labels(source, workers=2, progress=False),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_wrapped_data_sets_read_each_label_map_once(tmp_path):
    first = make_dataset(
        write_labels(tmp_path / 'a', [np.full((2, 3), i % 3) for i in range(4)]), 3
    )
    repeated = dict(
        type='RepeatDataset',
        times=3,
        dataset=dict(
            type='BaseSegDataset',
            metainfo=first.metainfo,
            pipeline=LOAD,
            data_root=str(write_labels(tmp_path / 'b', [np.full((1, 1), 2)])),
            data_prefix=dict(img_path='images', seg_map_path='labels'),
        ),
    )
    both = ConcatDataset([first, repeated, first], ignore_keys=['label_map'])
    assert [len(images) for _, images in unwrap(both)] == [4, 1, 1, 1, 4]
    assert len(LabelSource(both)) == 5
    found = ClassStatistics.scan(both, progress=False)
    assert found.num_images == len(both) == 11
    assert found.pixels.tolist() == [24, 12, 12 + 3]
    assert [found.classes_of(i).tolist() for i in (0, 1, 4, 6, 8)] == [[0], [1], [2], [2], [1]]


class WithCategories(BaseSegDataset):
    """What ClassBalancedDataset asks for."""

    def get_cat_ids(self, idx):
        return [idx]


def test_selections_of_images_are_followed(tmp_path):
    root = write_labels(tmp_path, [np.full((1, i + 1), i) for i in range(3)])
    balanced = ClassBalancedDataset(make_dataset(root, 3, WithCategories), oversample_thr=0.99)
    found = ClassStatistics.scan(balanced, progress=False)
    assert balanced.repeat_indices == [0, 0, 1, 1, 2, 2]
    assert found.pixels.tolist() == [2, 4, 6]
    sliced = _SlicedDataset(balanced, 3)
    assert ClassStatistics.scan(sliced, progress=False).pixels.tolist() == [2, 2, 0]


def test_joined_data_sets_must_name_the_same_classes(tmp_path):
    root = write_labels(tmp_path, [np.zeros((2, 2))])
    other = make_dataset(root, 2, metainfo=dict(classes=('x', 'y')))
    joined = ConcatDataset([make_dataset(root, 2), other], ignore_keys=['classes', 'palette'])
    with pytest.raises(ValueError, match='different classes'):
        LabelSource(joined)


def test_empty_rows_and_sums():
    found = ClassStatistics.from_rows(('a', 'b', 'c'), [[0, 0, 0], [5, 0, 2], [1, 0, 0]], [9, 0, 1])
    assert found.images.tolist() == [2, 0, 1]
    assert found.pixels_per_image.tolist() == [0, 7, 1]
    assert found.image_pixels.tolist() == [8, 0, 7]
    starts, images = found.images_by_class
    assert [images[starts[c] : starts[c + 1]].tolist() for c in range(3)] == [[1, 2], [], [1]]
    assert found.take([1, 1, 0]).pixels.tolist() == [10, 0, 4]
    assert found.ignored_pixels == 10


def test_sums_do_not_depend_on_how_they_are_sliced(monkeypatch):
    rows = np.random.default_rng(0).integers(0, 3, (50, 4))
    found = ClassStatistics.from_rows('abcd', rows)
    monkeypatch.setattr('mmseg_balance.statistics.class_statistics._SLICE', 7)
    assert found.pixels.tolist() == rows.sum(0).tolist()
    assert found.images.tolist() == (rows > 0).sum(0).tolist()
    assert found.image_pixels.tolist() == [int(rows[rows[:, c] > 0].sum()) for c in range(4)]
    starts, images = found.images_by_class
    for c in range(4):
        assert images[starts[c] : starts[c + 1]].tolist() == np.flatnonzero(rows[:, c]).tolist()


def test_file_round_trip_without_pickles(tmp_path):
    found = ClassStatistics.from_rows(
        ('sky', 'straße'), [[3, 0], [1, 4]], [0, 7], fingerprint='f', dataset='D'
    )
    path = found.save(tmp_path / 'deep' / 'er' / 'stats.npz')
    again = ClassStatistics.load(path)
    for name in ('class_names', 'fingerprint', 'dataset'):
        assert getattr(again, name) == getattr(found, name)
    for name in ('indptr', 'indices', 'counts', 'ignored', 'pixels', 'images'):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    with np.load(path, allow_pickle=False) as stored:
        assert {stored[key].dtype.kind for key in stored} <= {'u', 'i', 'U'}
        assert json.loads(str(stored['header']))['class_names'] == ['sky', 'straße']


def test_an_interrupted_save_leaves_what_was_there(tmp_path, monkeypatch):
    path = ClassStatistics.from_rows('ab', [[1, 2]]).save(tmp_path / 's.npz')

    def interrupted(file, **arrays):
        file.write(b'half')
        raise KeyboardInterrupt

    monkeypatch.setattr(np, 'savez', interrupted)
    with pytest.raises(KeyboardInterrupt):
        ClassStatistics.from_rows('ab', [[9, 9]]).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ['s.npz']
    assert ClassStatistics.load(path).pixels.tolist() == [1, 2]


def _save_often(path: str, pixels: int) -> None:
    for _ in range(40):
        ClassStatistics.from_rows('ab', np.full((500, 2), pixels)).save(path)


def test_two_processes_at_once_do_not_corrupt_the_file(tmp_path):
    path = tmp_path / 's.npz'
    writers = [
        multiprocessing.get_context('fork').Process(target=_save_often, args=(path, n))
        for n in (1, 2)
    ]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            found = ClassStatistics.load(path)
            assert found.pixels[0] == found.pixels[1]
            seen.add(int(found.pixels[0]))
    assert all(writer.exitcode == 0 for writer in writers)
    assert seen <= {500, 1000}
    assert not list(tmp_path.glob('*.partial'))


@pytest.mark.parametrize('content', [b'', b'no zip', b'PK\x03\x04 broken'])
def test_a_broken_file_says_what_to_do(tmp_path, content):
    path = tmp_path / 's.npz'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='remove it and run .*class_stats'):
        ClassStatistics.load(path)
    with pytest.raises(FileNotFoundError, match='class_stats CONFIG --out'):
        ClassStatistics.load(tmp_path / 'missing.npz')


def test_the_fingerprint_notices_labels_and_options_but_not_the_rest_of_the_pipeline(tmp_path):
    root = write_labels(tmp_path, [np.zeros((3, 3)), np.ones((3, 3))])

    def fingerprint(**options) -> str:
        return LabelSource(make_dataset(root, 2, **options)).fingerprint()

    first = fingerprint()
    assert first == fingerprint(pipeline=[*LOAD, dict(type='RandomFlip', prob=0.5)])
    dataset = make_dataset(root, 2)
    dataset[0]  # LoadAnnotations changes itself when it runs
    assert LabelSource(dataset).fingerprint() == first
    others = [
        fingerprint(ignore_index=1),
        fingerprint(reduce_zero_label=True),
        fingerprint(metainfo=dict(classes=('a', 'b'))),
    ]
    label = root / 'labels' / '001.png'
    os.utime(label, ns=(0, 0))
    others.append(fingerprint())
    write_labels(tmp_path, [np.zeros((3, 3))] * 3)
    others.append(fingerprint())
    assert len({first, *others}) == 6


def test_auto_scans_once_and_again_when_labels_change(tmp_path, monkeypatch):
    root = write_labels(tmp_path / 'd', [np.zeros((3, 3)), np.ones((3, 3))])
    dataset = make_dataset(root, 2)
    assert load_statistics('auto', dataset).pixels.tolist() == [9, 9]
    scans = []
    monkeypatch.setattr(ClassStatistics, 'scan', lambda *a, **k: scans.append(1))
    assert load_statistics(None, dataset).pixels.tolist() == [9, 9]
    assert not scans
    monkeypatch.undo()
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    write_labels(root, [np.zeros((3, 3)), np.zeros((5, 5))])
    assert load_statistics('auto', dataset).pixels.tolist() == [34, 0]


def test_auto_finds_the_training_set_of_the_run(tiny_camvid):
    config = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='RepeatDataset',
                    times=2,
                    dataset=dict(
                        type='CamVidDataset',
                        data_root=str(tiny_camvid),
                        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
                        pipeline=[
                            dict(type='LoadImageFromFile'),
                            dict(type='LoadAnnotations'),
                            dict(type='NoSuchTransform'),
                        ],
                    ),
                )
            )
        )
    )
    MessageHub.get_instance('test_auto').update_info('cfg', config.pretty_text)
    found = load_statistics('auto')
    assert found.num_images == 8
    assert found.class_names == CamVidDataset.METAINFO['classes']
    assert (found.pixels_per_image + found.ignored == 64 * 48).all()
    MessageHub.get_instance('another run').update_info('cfg', '')
    assert load_statistics('auto', run='test_auto') is found


def test_auto_of_a_config_for_testing_alone_says_so():
    MessageHub.get_instance('test_only').update_info('cfg', Config(dict(a=1)).pretty_text)
    with pytest.raises(RuntimeError, match='no train_dataloader.*class_stats CONFIG'):
        load_statistics('auto')


def test_auto_outside_a_run_says_so():
    MessageHub.get_instance('test_no_run')
    with pytest.raises(RuntimeError, match='no run with a config.*class_stats CONFIG'):
        load_statistics('auto')
    with pytest.raises(TypeError, match='list'):
        load_statistics([1, 2])


def test_a_file_must_fit_the_data_set(tmp_path, tiny_camvid, caplog):
    dataset = DATASETS.build(
        dict(
            type='CamVidDataset',
            data_root=str(tiny_camvid),
            pipeline=LOAD,
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        )
    )
    path = ClassStatistics.from_rows('ab', [[1, 2]]).save(tmp_path / 's.npz')
    with pytest.raises(ValueError, match='has 1 images and 2 classes, the training set 4 and 11'):
        load_statistics(path, dataset)
    assert load_statistics(path).num_images == 1
    found = ClassStatistics.scan(dataset, progress=False)
    path = found.save(path)
    assert load_statistics(str(path), dataset).num_images == 4
    renamed = replace(found, class_names=('sky', 'house', *found.class_names[2:]))
    with pytest.raises(ValueError, match="has the class 'house' where .* has 'building'"):
        load_statistics(renamed, dataset)


def test_joined_statistics_do_not_warn_of_their_own_data(tmp_path, monkeypatch):
    """Their fingerprint 'x+y' is that of no data set, and '+' of statistics without one is none."""
    dataset = make_dataset(write_labels(tmp_path, [np.zeros((3, 3))]), 2)
    one = ClassStatistics.scan(dataset, progress=False)
    both = ConcatDataset([dataset, dataset])
    bare = replace(one, fingerprint='')
    warnings = []
    monkeypatch.setattr(auto, 'print_log', lambda *args: warnings.append(args))
    older = [replace(one + one, fingerprint=name) for name in ('x+y', '+')]
    for joined in (one + one, bare + bare, *older):
        load_statistics(joined, both)
    assert warnings == []
    load_statistics(replace(one + one, fingerprint='x'), both)
    assert len(warnings) == 1


def _auto_on_rank(rank: int, root: str, folder: str) -> list | str:
    os.environ['MMSEG_BALANCE_STATISTICS'] = folder
    init_default_scope('mmseg')
    try:
        return load_statistics('auto', make_dataset(Path(root), 2)).pixels.tolist()
    except (RuntimeError, ValueError) as error:
        return str(error)


def test_the_other_ranks_wait_for_rank_0(tmp_path):
    root = write_labels(tmp_path / 'd', [np.zeros((3, 3)), np.ones((3, 3))])
    assert run_ranks(_auto_on_rank, 3, str(root), str(tmp_path / 'auto')) == [[9, 9]] * 3
    assert len(list((tmp_path / 'auto').iterdir())) == 1


def _auto_twice_on_a_copy(rank: int, roots: list[str], folder: str) -> list:
    return [_auto_on_rank(rank, roots[rank], folder) for _ in range(2)]


def test_ranks_with_copies_of_the_data_read_the_file_of_rank_0(tmp_path):
    """Their dates differ, so that each rank would look for another file; twice: made, and found."""
    roots = [write_labels(tmp_path / name, [np.ones((3, 3))]) for name in 'ab']
    os.utime(roots[1] / 'labels' / '000.png', ns=(0, 0))
    found = run_ranks(
        _auto_twice_on_a_copy, 2, [str(root) for root in roots], str(tmp_path / 'auto')
    )
    assert found == [[[0, 9]] * 2] * 2
    assert len(list((tmp_path / 'auto').iterdir())) == 1


def test_a_failure_of_rank_0_reaches_every_rank(tmp_path):
    root = write_labels(tmp_path / 'd', [np.zeros((3, 3)), np.full((3, 3), 7)])
    first, second = run_ranks(_auto_on_rank, 2, str(root), str(tmp_path / 'auto'))
    assert '7' in first
    assert second == f'rank 0 could not count the labels: ValueError: {first}'


def test_a_scan_divided_over_processes_is_joined_in_order(tmp_path):
    rng = np.random.default_rng(0)
    root = write_labels(tmp_path / 'd', [rng.integers(0, 3, (3, 3)) for _ in range(7)])
    dataset = RepeatDataset(make_dataset(root, 3), 2)
    path = tmp_path / 'out' / 'stats.npz'
    assert scan_shard(dataset, path, (2, 3), progress=False) is None
    assert scan_shard(dataset, path, (0, 3), progress=False) is None
    joined = scan_shard(dataset, path, (1, 3), progress=False)
    whole = ClassStatistics.scan(dataset, progress=False)
    for found in (joined, ClassStatistics.load(path)):
        np.testing.assert_array_equal(found.indptr, whole.indptr)
        np.testing.assert_array_equal(found.counts, whole.counts)
        assert found.fingerprint == whole.fingerprint
    assert [file.name for file in path.parent.iterdir()] == ['stats.npz']
    assert cores_of({'LOCAL_WORLD_SIZE': '1000'}) == 1


def test_a_slurm_array_with_gaps_is_refused_before_it_counts():
    """``--array=1,5,7`` counted, and then ended with a list index out of range."""
    array = {'SLURM_ARRAY_TASK_MIN': '1', 'SLURM_ARRAY_TASK_COUNT': '3'}
    assert shard_of({**array, 'SLURM_ARRAY_TASK_ID': '3'}) == (2, 3)
    with pytest.raises(ValueError, match='consecutive numbers, --array=0-2'):
        shard_of({**array, 'SLURM_ARRAY_TASK_ID': '7'})


def test_parts_from_before_a_change_are_not_joined(tmp_path):
    root = write_labels(tmp_path / 'd', [np.zeros((3, 3)), np.zeros((3, 3))])
    path = tmp_path / 'stats.npz'
    scan_shard(make_dataset(root, 2), path, (0, 2), progress=False)
    write_labels(root, [np.ones((4, 4)), np.ones((4, 4))])
    assert scan_shard(make_dataset(root, 2), path, (1, 2), progress=False) is None


def test_statistics_add_up_and_refuse_other_classes():
    a = ClassStatistics.from_rows('ab', [[1, 2]], [5])
    b = ClassStatistics.from_rows('ab', [[0, 3], [4, 0]], [0, 6])
    assert (a + b).pixels.tolist() == (a.pixels + b.pixels).tolist()
    assert (a + b).ignored.tolist() == [5, 0, 6]
    assert (a + b + a).num_images == 4
    with pytest.raises(ValueError, match='order must be equal'):
        a + ClassStatistics.from_rows('ba', [[1, 2]])


def test_the_default_path_names_data_set_and_fingerprint(tmp_path):
    source = LabelSource(make_dataset(write_labels(tmp_path, [np.zeros((2, 2))]), 2))
    path = statistics_path(source)
    assert path.parent == tmp_path / 'auto'
    assert path.name == f'BaseSegDataset-{source.fingerprint()[:16]}.npz'


def test_the_table_has_every_class_and_rule():
    table = statistics_table(ClassStatistics.from_rows(('a', 'never'), [[3, 0], [1, 0]], [4, 0]))
    assert [column.header for column in table.columns][-4:] == [
        'inverse frequency',
        'median frequency',
        'effective number',
        'enet',
    ]
    cells = [list(column.cells) for column in table.columns]
    assert cells[:4] == [['a', 'never'], ['50.000%', '0.000%'], ['100.000%', '0.000%'], ['2', '0']]


@pytest.mark.requires_data('camvid')
def test_camvid_has_the_published_shares(repository):
    config = Config.fromfile(repository / 'configs/_base_/datasets/camvid_small.py')
    config.train_dataloader.dataset.data_root = str(repository / 'data/camvid')
    found = ClassStatistics.scan(build_training_set(config), progress=False)
    labelled = dict(zip(found.class_names, found.pixels / found.pixels.sum(), strict=True))
    share = found.pixels.sum() / (found.pixels.sum() + found.ignored_pixels)
    assert 100 * labelled['road'] * share == pytest.approx(31.7, abs=0.05)
    assert 100 * labelled['bicyclist'] * share == pytest.approx(0.29, abs=0.005)
    assert 100 * labelled['road'] == pytest.approx(33.0, abs=0.05)
    assert 100 * labelled['bicyclist'] == pytest.approx(0.30, abs=0.005)
