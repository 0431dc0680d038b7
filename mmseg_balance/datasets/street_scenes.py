"""Street scenes that the package renders itself: a data set with nothing to download."""

import contextlib
import json
import multiprocessing
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import cv2
from mmengine.utils import track_parallel_progress, track_progress
from mmseg.registry import DATASETS

from mmseg_balance.datasets.named_splits import NamedSplitsDataset, Split
from mmseg_balance.datasets.street_renderer import CLASSES, CYCLIST_EVERY, render_street_scene
from mmseg_balance.runtime.environment import usable_cores
from mmseg_balance.runtime.locks import file_lock

ROOT, TEST_ROOT = 'data/street_scenes', 'data/street_scenes_test'
NUM_IMAGES = {'train': 128, 'val': 32}
NUM_TEST_IMAGES = {'test': 200}
SPLIT_SEEDS = {'train': 0, 'val': 1, 'test': 2}  # with the data set's seed: no scene in two splits
MARKER = 'street_scenes.json'  # written last: a folder with it is whole
RENDERER = 2  # goes up with every change of the pictures


@DATASETS.register_module()
class StreetScenesDataset(NamedSplitsDataset):
    """Rendered street scenes, 10 classes with a long tail, 128x256 pixels.

    The scenes are rendered at construction when `data_root` lacks them (about ten seconds);
    several processes may start at once.

    Args:
        data_root: Folder of the data set; made if missing. The default of the test split is
            'data/street_scenes_test'.
        data_prefix: `images/train` and `labels/train`, or the same with `val`.
        split: Instead of `data_prefix`: `'train'` (128 images), `'dev'` (32, the folder `val`)
            or `'test'` (200, scenes of their own in a `data_root` of their own).
        render: Render the scenes when they are missing.
        seed: Seed of the scenes. A folder with scenes of another seed is refused.

    Raises:
        ValueError: `data_root` is missing, or holds scenes of another seed or other splits.
    """

    METAINFO = dict(
        classes=CLASSES,
        palette=[
            [70, 130, 180],
            [90, 90, 90],
            [128, 64, 128],
            [244, 35, 232],
            [107, 142, 35],
            [0, 0, 142],
            [255, 255, 153],
            [220, 220, 0],
            [220, 20, 60],
            [255, 128, 0],
        ],
    )
    SPLITS: ClassVar = dict(
        train=Split('images/train', 'labels/train'),
        dev=Split('images/val', 'labels/val'),
        test=Split('images/test', 'labels/test'),
    )

    makes_its_files = True  # a missing data_root is no reason not to build it

    def __init__(
        self,
        data_root: str | None = ROOT,
        data_prefix: dict | None = None,
        img_suffix: str = '.png',
        seg_map_suffix: str = '.png',
        render: bool = True,
        seed: int = 0,
        split: str | None = None,
        **kwargs,
    ) -> None:
        if split == 'test' and data_root == ROOT:
            data_root = TEST_ROOT  # train and dev would find no scenes of theirs there
        if render:
            if not data_root:
                raise ValueError(
                    f'data_root={data_root!r}: rendering needs a folder to write to; '
                    'name one or say render=False.'
                )
            # Scenes that are there are taken in whatever number.
            made = Path(data_root, MARKER).is_file()
            write_street_scenes(
                data_root, seed, NUM_TEST_IMAGES if split == 'test' and not made else None
            )
            if split in self.SPLITS and not Path(data_root, self.SPLITS[split].images).is_dir():
                raise ValueError(
                    f'data_root={data_root!r} holds scenes, but not those of '
                    f'split={split!r}; give the test split its own folder, such as {TEST_ROOT!r}.'
                )
        if split is None and not data_prefix:
            data_prefix = dict(img_path='images/train', seg_map_path='labels/train')
        super().__init__(
            split=split,
            data_root=data_root,
            data_prefix=data_prefix,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )


def write_street_scenes(
    root: str | Path,
    seed: int = 0,
    num_images: Mapping[str, int] | None = None,
    num_workers: int | None = None,
) -> Path:
    """Render the data set under `root`, once and all or nothing; return `root`.

    It is written next to `root` and renamed when it is whole. What a killed process left
    behind is replaced. Each image has its own seed, so any number of workers gives the
    same bytes.

    Args:
        root: Folder to make.
        seed: Seed of the data set.
        num_images: Images in each split, 128 `train` and 32 `val` by default. A split's scenes
            depend on its name, so that those of `test` are new to `train` and `val`.
        num_workers: Processes; as many as there are cores by default.

    Raises:
        ValueError: `root` holds scenes of another seed, number or renderer, or files that are
            not ours.
    """
    root = Path(os.path.realpath(root))  # what is renamed is the folder, not a link to it
    if _is_whole(root, seed, num_images):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with _only_writer(root):
        if _is_whole(root, seed, num_images):  # another process wrote it while this one waited
            return root
        partial = Path(
            tempfile.mkdtemp(prefix=f'.{root.name}.', suffix='.partial', dir=root.parent)
        )
        try:
            _render_all(partial, seed, num_images or NUM_IMAGES, num_workers)
            _publish(partial, root, seed)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return root


def _is_whole(root: Path, seed: int, num_images: Mapping[str, int] | None = None) -> bool:
    if not (root / MARKER).is_file():
        foreign = (
            [p.name for p in root.iterdir() if p.name not in ('images', 'labels')]
            if root.is_dir()
            else []
        )
        if foreign:
            raise ValueError(
                f'data_root={str(root)!r} holds files that are not street scenes '
                f'({foreign[0]!r}, …); give an empty or a new folder.'
            )
        return False
    settings = json.loads((root / MARKER).read_text())
    if settings.get('renderer') != RENDERER:
        raise ValueError(
            f'data_root={str(root)!r} holds pictures of another version of the '
            'renderer; delete that folder to have them rendered again.'
        )
    found = settings['seed']
    if found != seed:
        raise ValueError(
            f'data_root={str(root)!r} holds the scenes of seed {found}, not of '
            f'seed={seed}; give each seed its own folder.'
        )
    if num_images is not None and settings['num_images'] != dict(num_images):
        raise ValueError(
            f'root={str(root)!r} holds {settings["num_images"]} scenes, not '
            f'num_images={dict(num_images)}; give each its own folder, or delete that one.'
        )
    return True


@contextlib.contextmanager
def _only_writer(root: Path) -> Iterator[None]:
    """Let one process at a time write `root`; the lock of a killed process is free again."""
    with file_lock(root.parent / f'.{root.name}.lock'):
        for leftover in root.parent.glob(f'.{root.name}.*.partial'):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _publish(partial: Path, root: Path, seed: int) -> None:
    partial.chmod(0o755)  # mkdtemp makes it private
    if root.is_dir() and not (root / MARKER).exists():
        os.rename(root, partial / 'leftover')
        shutil.rmtree(partial / 'leftover')
    try:
        os.rename(partial, root)
    except OSError:  # without a lock, another process was faster
        if not _is_whole(root, seed):
            raise


def _render_all(
    folder: Path, seed: int, num_images: Mapping[str, int], num_workers: int | None
) -> None:
    tasks = []
    for split, count in num_images.items():
        for kind in ('images', 'labels'):
            (folder / kind / split).mkdir(parents=True)
        split_seed = SPLIT_SEEDS.get(split, zlib.crc32(split.encode()))
        tasks += [(folder, split, (seed, split_seed), index) for index in range(count)]
    workers = min(num_workers or min(16, usable_cores()), len(tasks))
    print(f'Rendering {len(tasks)} street scenes', flush=True)
    if workers > 1 and not multiprocessing.current_process().daemon:
        track_parallel_progress(
            _render_one, tasks, workers, initializer=cv2.setNumThreads, initargs=(0,), chunksize=4
        )
    else:
        track_progress(_render_one, tasks)
    print(flush=True)
    (folder / MARKER).write_text(
        json.dumps(dict(seed=seed, renderer=RENDERER, num_images=dict(num_images), classes=CLASSES))
    )


def _render_one(task: tuple[Path, str, tuple[int, int], int]) -> None:
    folder, split, seed, index = task
    image, label = render_street_scene((*seed, index), with_cyclist=index % CYCLIST_EVERY == 1)
    for kind, picture in (('images', image[..., ::-1]), ('labels', label)):
        _, png = cv2.imencode('.png', picture)
        (folder / kind / split / f'{index:04d}.png').write_bytes(png.tobytes())
