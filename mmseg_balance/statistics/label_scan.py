"""All label maps behind a training set, counted in parallel."""

import hashlib
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from mmengine import ProgressBar
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset

from mmseg_balance.runtime.environment import usable_cores
from mmseg_balance.statistics.label_reader import LabelReader, class_names

IMAGES_PER_TASK = 64


def unwrap(dataset) -> list[tuple[object, np.ndarray]]:
    """List the plain data sets behind wrappers, with the images of each in their order.

    Handles ``ConcatDataset``, ``RepeatDataset``, ``ClassBalancedDataset``,
    ``MultiImageMixDataset`` and the slice that ``num_batch_per_epoch`` makes.
    """
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    if isinstance(dataset, ConcatDataset):
        return [piece for part in dataset.datasets for piece in unwrap(part)]
    if isinstance(dataset, RepeatDataset):
        return unwrap(dataset.dataset) * dataset.times
    if isinstance(dataset, ClassBalancedDataset):
        return _select(unwrap(dataset.dataset), np.asarray(dataset.repeat_indices))
    if '_dataset' in vars(dataset):
        inner = unwrap(vars(dataset)['_dataset'])
        available = sum(len(images) for _, images in inner)
        return _select(inner, np.arange(min(len(dataset), available)))
    if hasattr(dataset, 'dataset') and not hasattr(dataset, 'data_list'):
        return unwrap(dataset.dataset)
    return [(dataset, np.arange(len(dataset)))]


def _select(
    pieces: Sequence[tuple[object, np.ndarray]], wanted: np.ndarray
) -> list[tuple[object, np.ndarray]]:
    starts = np.cumsum([0] + [len(images) for _, images in pieces])
    owner = np.searchsorted(starts, wanted, side='right') - 1
    runs = np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(owner)) + 1)
    return [
        (pieces[owner[run[0]]][0], pieces[owner[run[0]]][1][wanted[run] - starts[owner[run[0]]]])
        for run in runs
        if len(run)
    ]


class LabelSource:
    """All label maps behind a training set: each read once, however often it is repeated."""

    def __init__(self, dataset, ignore_index: int | None = None) -> None:
        pieces = unwrap(dataset)
        leaves = list({id(leaf): leaf for leaf, _ in pieces}.values())
        self.readers = [LabelReader.of(leaf, ignore_index) for leaf in leaves]
        self.starts = np.cumsum([0] + [len(leaf) for leaf in leaves])
        first = {id(leaf): start for leaf, start in zip(leaves, self.starts, strict=False)}
        self.order = np.concatenate([first[id(leaf)] + images for leaf, images in pieces])
        self.name = '+'.join(dict.fromkeys(type(leaf).__name__ for leaf in leaves))
        self.class_names = class_names(leaves[0])
        for leaf in leaves[1:]:
            if class_names(leaf) != self.class_names:
                raise ValueError(
                    f'data sets {type(leaves[0]).__name__} and {type(leaf).__name__} are joined '
                    'but name different classes; give both the same metainfo.classes'
                )

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def in_order(self) -> bool:
        """Whether the training set is just its label maps, one after the other."""
        return len(self.order) == len(self) and bool((np.diff(self.order) == 1).all())

    def locate(self, index: int) -> tuple[LabelReader, int]:
        """The reader of label map ``index`` of all, and its index there."""
        owner = int(np.searchsorted(self.starts, index, side='right')) - 1
        return self.readers[owner], index - int(self.starts[owner])

    def count(self, index: int) -> tuple[np.ndarray, int]:
        """Count label map ``index`` of all."""
        reader, own = self.locate(index)
        return reader.count(own)

    def fingerprint(self) -> str:
        """Hash of options, files and order: another one means that counts may have changed."""
        digest = hashlib.sha256()
        for reader in self.readers:
            digest.update(reader.fingerprint().encode())
        if not self.in_order:
            digest.update(self.order.tobytes())
        return digest.hexdigest()


def count_labels(
    source: LabelSource,
    start: int = 0,
    stop: int | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[np.ndarray, ...]:
    """Count label maps ``start`` to ``stop``, in several processes and with a progress bar.

    Args:
        source: the label maps.
        start: the first to count.
        stop: one past the last to count, all by default.
        workers: processes; one per core by default, 0 counts in this process.
        progress: whether to draw a bar (on stderr).

    Returns:
        ``(sizes, classes, counts, ignored)``: classes per image, then the entries of all images
        (class, pixels) one after the other, and ignored pixels per image.
    """
    stop = len(source) if stop is None else stop
    total = max(stop - start, 0)
    if workers is None:
        workers = usable_cores()
    if multiprocessing.current_process().daemon:  # a loader's worker may have no children
        workers = 0
    per_task = max(1, min(IMAGES_PER_TASK, total // (8 * max(workers, 1))))
    tasks = [(first, min(first + per_task, stop)) for first in range(start, stop, per_task)]
    bar = ProgressBar(total, file=sys.stderr) if progress and total else None
    results = []
    try:
        for task, result in zip(tasks, _counts(source, tasks, workers, total), strict=True):
            results.append(result)
            _advance(bar, task)
    finally:  # an error has a line of its own, too
        if bar:
            bar.file.write('\n')
    if not results:
        return (np.zeros(0, dtype=np.int64),) * 4
    return tuple(map(np.concatenate, zip(*results, strict=True)))


def _counts(
    source: LabelSource, tasks: Sequence[tuple[int, int]], workers: int, total: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """What each task counts, in their order."""
    if workers <= 1 or total < 2 * IMAGES_PER_TASK:
        yield from (_count_range(source, *task) for task in tasks)
        return
    # Leaving the block ends the processes, also when one of them found a bad label.
    with multiprocessing.Pool(workers, _enter_worker, (source,)) as pool:
        yield from pool.imap(_count_task, tasks)


def _count_range(source: LabelSource, start: int, stop: int) -> tuple[np.ndarray, ...]:
    sizes, classes, counts, ignored = [], [], [], []
    for index in range(start, stop):
        pixels, void = source.count(index)
        present = np.flatnonzero(pixels)
        sizes.append(len(present))
        classes.append(present)
        counts.append(pixels[present])
        ignored.append(void)
    return (
        np.array(sizes),
        np.concatenate(classes).astype(np.uint16),
        np.concatenate(counts).astype(np.uint32),
        np.array(ignored, dtype=np.uint32),
    )


def _enter_worker(source: LabelSource) -> None:
    # Ctrl-C reaches every process of the terminal; only the parent acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _WORKER['source'] = source


def _count_task(task: tuple[int, int]) -> tuple[np.ndarray, ...]:
    return _count_range(_WORKER['source'], *task)


def _advance(bar: ProgressBar | None, task: tuple[int, int]) -> None:
    if bar:
        bar.update(task[1] - task[0])


_WORKER: dict[str, LabelSource] = {}
