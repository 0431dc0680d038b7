"""The labels of one split: counted once, and what cannot be counted told apart."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mmseg.registry import DATASETS

from mmseg_balance.functional.sampling import evenly
from mmseg_balance.runtime.input_checks import MAX_FILES_LOOKED_FOR, is_absent
from mmseg_balance.statistics import ClassStatistics, LabelSource, statistics_path
from mmseg_balance.statistics.auto import labels_only
from mmseg_balance.statistics.label_reader import LabelReader, is_stock_loader, reason_of
from mmseg_balance.statistics.label_scan import count_labels

MAX_FAILURES_READ = 32
STORED_SAMPLE = 32


@dataclass(frozen=True)
class Failure:
    """A label map that is not what the data set says: ``kind`` is how."""

    kind: str  # 'missing', 'unreadable', 'colours', 'range'
    path: str
    image: str
    detail: str
    values: tuple[int, ...] = ()


class TolerantSource(LabelSource):
    """Label maps of which a bad one counts nothing, not even ignored pixels."""

    def count(self, index: int) -> tuple[np.ndarray, int]:
        try:
            return super().count(index)
        except Exception:  # decoders raise whatever they like; `Survey.failures` looks again
            return np.zeros(len(self.class_names), dtype=np.int64), 0

    def entry(self, index: int) -> tuple[LabelReader, dict]:
        """Reader and info of label map ``index`` of all."""
        reader, own = self.locate(index)
        return reader, reader.dataset.get_data_info(own)


class Survey:
    """The label maps of one split.

    Args:
        dataset: config of the split's data set.
        progress: whether to draw bars.

    Raises:
        Exception: whatever building the data set raises.
    """

    def __init__(self, dataset: Mapping, progress: bool = True) -> None:
        self.dataset = DATASETS.build(labels_only(dataset))
        self.progress = progress
        self.source = TolerantSource(self.dataset)
        self.class_names = self.source.class_names
        self.ignore_index = self.source.readers[0].ignore_index

    def __len__(self) -> int:
        return len(self.source)

    def info(self, index: int) -> dict:
        """Paths and options of one image."""
        return self.source.entry(index)[1]

    def spread(self, number: int) -> list[int]:
        """Indices of at most ``number`` images, evenly spread."""
        return evenly(len(self), number).tolist()

    @cached_property
    def _kept(self) -> ClassStatistics | None:
        """What an earlier count left; None if that is nothing, or cannot be read."""
        try:
            return ClassStatistics.load(statistics_path(self.source))
        except (OSError, ValueError):
            return None

    @cached_property
    def statistics(self) -> ClassStatistics:
        """Counts of all images in the data set's order, from the cache if they are there."""
        if self._kept is not None:
            return self._kept
        found = self._by_file
        if not self.source.in_order:
            found = found.take(self.source.order)
        if not len(self._failed):
            with suppress(OSError):  # the folder cannot be written to, or the disk is full
                found.save(statistics_path(self.source))
        return found

    @cached_property
    def _by_file(self) -> ClassStatistics:
        source = self.source
        return ClassStatistics.from_entries(
            source.class_names,
            *count_labels(source, progress=self.progress),
            fingerprint=source.fingerprint(),
            dataset=source.name,
        )

    @cached_property
    def _failed(self) -> np.ndarray:
        if self._kept is not None:  # a count is kept only where none failed
            return np.zeros(0, dtype=np.int64)
        found = self._by_file
        return np.flatnonzero((found.classes_per_image == 0) & (found.ignored == 0))

    @cached_property
    def failures(self) -> list[Failure]:
        """What is wrong with the label maps that could not be counted (some, if many)."""
        some = self._failed[:MAX_FAILURES_READ]
        return [self._diagnose(int(index)) for index in some]

    @property
    def num_failures(self) -> int:
        return len(self._failed)

    def _diagnose(self, index: int) -> Failure:
        reader, info = self.source.entry(index)
        path, image = str(info.get('seg_map_path', '')), str(info.get('img_path', ''))
        if is_absent(path):
            return Failure('missing', path, image, 'there is no such file')
        if is_stock_loader(reader.loader):
            try:
                stored = reader.stored(info)
            except Exception as error:
                reason = reason_of(error.__cause__ or error)  # the check names file and remedy
                return Failure('unreadable', path, image, reason)
            if stored.ndim > 2:
                return Failure('colours', path, image, f'shape {stored.shape}')
        try:
            LabelSource.count(self.source, index)
        except Exception as error:
            if not is_stock_loader(reader.loader):
                return Failure('unreadable', path, image, str(error) or type(error).__name__)
            return Failure('range', path, image, str(error), tuple(np.unique(stored).tolist()))
        return Failure('unreadable', path, image, 'it has no pixel')

    @cached_property
    def stored_values(self) -> tuple[int, ...]:
        """Values in the files of some images, before ``reduce_zero_label`` and label maps."""
        maps = self._stored(self.spread(STORED_SAMPLE))
        return tuple(sorted(set().union(*(np.unique(one).tolist() for one in maps))))

    @cached_property
    def holds_zero(self) -> bool:
        """Whether any label map has class 0 or, if it could not be counted, a stored 0."""
        return bool(self.statistics.pixels[0]) or any(
            (one == 0).any() for one in self._stored(self._failed)
        )

    def _stored(self, indices: Iterable[int]) -> Iterator[np.ndarray]:
        """The values in files, of those that can be read."""
        for index in indices:
            reader, info = self.source.entry(int(index))
            if not is_stock_loader(reader.loader):
                continue
            try:
                stored = reader.stored(info)
            except Exception:  # reported as a failure
                continue
            if stored.ndim == 2:
                yield stored

    @cached_property
    def missing_files(self) -> list[tuple[str, str, str]]:
        """Kind, path and counterpart of files that are listed but not there."""
        found = []
        for index in range(min(len(self), MAX_FILES_LOOKED_FOR)):
            info = self.info(index)
            image, labels = str(info.get('img_path', '')), str(info.get('seg_map_path', ''))
            for kind, path, other in (('image', image, labels), ('label map', labels, image)):
                if is_absent(path):
                    found.append((kind, path, other))
        return found

    @property
    def reduces_zero(self) -> bool:
        """Whether stored zeros become ignored pixels."""
        return bool(self.source.readers[0].describe()['reduce_zero_label'])

    def labels(self, index: int) -> np.ndarray:
        """The labels of one image at full size, as the loss means them."""
        reader, info = self.source.entry(index)
        info.setdefault('seg_fields', [])
        return np.asarray(reader.loader(info)['gt_seg_map'])
