"""Labels of a public release to the 8-bit PNG files that MMSegmentation reads."""

from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import track_parallel_progress, track_progress

from mmseg_balance.datasets.synthia import CLASSES, LABEL_FOLDER
from mmseg_balance.runtime.atomic_files import write_text

IGNORED = 255
# The sequences' own number for the class that RAND-CITYSCAPES has at 22.
SEQUENCE_LANE_MARKING = 12
LANE_MARKING = CLASSES.index('lane marking')


def convert_sbd(root: str | Path, num_workers: int = 2) -> int:
    """Write ``root/labels/*.png`` from ``root/cls/*.mat``; return the number of files.

    Args:
        root: The folder ``dataset`` of the release's ``benchmark.tgz``.
        num_workers: Processes.

    Raises:
        FileNotFoundError: No ``cls/*.mat`` there.
    """
    root = Path(root)
    sources = _found(root, root.glob('cls/*.mat'), 'cls/*.mat')
    (root / 'labels').mkdir(exist_ok=True)
    _track(_convert_sbd_file, sources, num_workers)
    return len(sources)


def convert_synthia(root: str | Path, num_workers: int = 2) -> int:
    """Write 8-bit labels beside the 16-bit ones of SYNTHIA; return the number of files.

    The class is the first channel; 0 (void) becomes 255 and class c becomes c − 1, an index into
    :data:`~mmseg_balance.datasets.synthia.CLASSES`.

    Args:
        root: Folder with the unpacked archives, or one of them.
        num_workers: Processes.

    Raises:
        FileNotFoundError: No ``GT/LABELS`` there.
        ValueError: A folder above ``GT`` has not the name of an archive.
    """
    root = Path(root).resolve()  # the name of an archive is read: '.' and a link have another
    sources = _found(root, root.glob('**/GT/LABELS/**/*.png'), '**/GT/LABELS/**/*.png')
    for archive in {_archive(source) for source in sources}:  # before anything is written
        _is_sequence(archive)
    _track(_convert_synthia_file, sources, num_workers)
    return len(sources)


def split_synthia(root: str | Path, seed: int = 0) -> dict[str, int]:
    """Draw ``train.txt``, ``val.txt`` and ``test.txt`` with 70, 10 and 20 % of the images.

    Tian et al. used 4400, 624 and 1272 images of the summer sequences and did not publish which.

    Returns:
        Images in each split.
    """
    root = Path(root)
    images = _found(
        root, (p for p in root.rglob('*.png') if 'RGB' in p.relative_to(root).parts), 'RGB/**/*.png'
    )
    names = [str(path.relative_to(root).with_suffix('')) for path in images]
    order = np.random.default_rng(seed).permutation(len(names))
    bounds = [round(0.7 * len(names)), round(0.8 * len(names))]
    splits = dict(zip(('train', 'val', 'test'), np.split(order, bounds), strict=True))
    for split, chosen in splits.items():
        write_text(root / f'{split}.txt', ''.join(f'{names[i]}\n' for i in sorted(chosen)))
    return {split: len(chosen) for split, chosen in splits.items()}


def synthia_train_ids(labels: np.ndarray, sequence: bool) -> np.ndarray:
    """Class numbers of SYNTHIA (H, W) to training labels uint8.

    >>> synthia_train_ids(np.array([[0, 1, 12]]), sequence=True)
    array([[255,   0,  21]], dtype=uint8)
    >>> synthia_train_ids(np.array([[0, 1, 12]]), sequence=False)
    array([[255,   0,  11]], dtype=uint8)
    """
    table = np.full(65536, IGNORED, np.uint8)
    table[1 : len(CLASSES) + 1] = np.arange(len(CLASSES))
    if sequence:
        table[SEQUENCE_LANE_MARKING] = LANE_MARKING
    return table[labels]


def _convert_sbd_file(source: Path) -> None:
    from scipy.io import loadmat  # only this conversion needs scipy

    try:
        content = loadmat(source, struct_as_record=False, squeeze_me=True)
        labels = np.asarray(content['GTcls'].Segmentation)
        low, high = labels.min(), labels.max()
    except Exception as error:  # a damaged or foreign file fails in many ways
        raise OSError(
            f'{source} is no label file of SBD ({type(error).__name__}); unpack the archive again.'
        ) from error
    if low < 0 or high > IGNORED:
        raise OSError(
            f'{source} has labels {low} to {high}, not classes of 8 bits; unpack it again.'
        )
    _write_png(source.parents[1] / 'labels' / f'{source.stem}.png', labels.astype(np.uint8))


def _convert_synthia_file(source: Path) -> None:
    channels = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)
    if channels is None:
        raise OSError(f'{source} cannot be read as an image; unpack the archive again.')
    if channels.ndim == 3:  # OpenCV turns the channels around: the first of the file is red
        channels = channels[..., 2]
    archive = _archive(source)
    target = Path(archive, *LABEL_FOLDER, *source.relative_to(archive).parts[2:])
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_png(target, synthia_train_ids(channels, _is_sequence(archive)))


def _archive(source: Path) -> Path:
    """The folder above ``GT/LABELS``; those further up are the user's."""
    at = len(source.parts) - 1 - source.parts[::-1].index('LABELS')
    return Path(*source.parts[: at - 1])


def _is_sequence(archive: Path) -> bool:
    if 'SEQS' not in archive.name and 'RAND' not in archive.name:
        raise ValueError(
            f'{archive}: the number of lane marking depends on the archive; give the folder above '
            'GT the name of its archive, such as SYNTHIA-SEQS-01-SUMMER or RAND_CITYSCAPES.'
        )
    return 'SEQS' in archive.name


def _write_png(path: Path, labels: np.ndarray) -> None:
    _, png = cv2.imencode('.png', labels)
    path.write_bytes(png.tobytes())


def _found(root: Path, files, pattern: str) -> list[Path]:
    files = sorted(files)
    if not files:
        raise FileNotFoundError(f'root={str(root)!r} has no {pattern}; unpack the release there.')
    return files


def _track(convert, sources: list[Path], num_workers: int) -> None:
    try:
        if num_workers > 1:
            track_parallel_progress(convert, sources, num_workers, chunksize=8)
        else:
            track_progress(convert, sources)
    finally:  # an error has a line of its own, too
        print(flush=True)
