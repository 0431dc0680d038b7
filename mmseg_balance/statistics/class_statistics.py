"""How often each class occurs in a training set: one sparse matrix and its sums."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmseg_balance.statistics.label_scan import LabelSource, count_labels
from mmseg_balance.statistics.statistics_file import (
    ARRAYS,
    read_statistics_file,
    write_statistics_file,
)

_LABELS = ('class_names', 'fingerprint', 'dataset')
# Work on this many entries or images at once, so that temporaries stay small.
_SLICE = 1 << 20


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Pixels of each class in each image, as a sparse matrix (images x classes), and its sums.

    Row ``i`` is ``indices[indptr[i]:indptr[i + 1]]`` (classes in image i, ascending) with
    ``counts`` beside (their pixels).

    Convention: ignored pixels are in ``ignored`` and nowhere else; an image all ignored has an
    empty row; a class never seen has zero ``pixels`` and zero ``images``.

    Args:
        class_names: names of the C classes.
        indptr: (num_images + 1,) int64.
        indices: (nnz,) class of each entry, in the smallest unsigned type that holds C.
        counts: (nnz,) pixels of each entry, uint32.
        ignored: (num_images,) ignored pixels of each image, uint32.
        fingerprint: hash of the labels and options that these counts come from; '' is unknown.
        dataset: name of the data set.

    >>> one = ClassStatistics.from_rows(('sky', 'road'), [[3, 0], [1, 4]])
    >>> one.pixels.tolist(), one.images.tolist(), one.classes_per_image.tolist()
    ([4, 4], [2, 1], [1, 2])
    >>> (one + one).num_images
    4
    """

    class_names: tuple[str, ...]
    indptr: np.ndarray
    indices: np.ndarray
    counts: np.ndarray
    ignored: np.ndarray
    fingerprint: str = ''
    dataset: str = ''

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def num_images(self) -> int:
        return len(self.indptr) - 1

    @property
    def ignored_pixels(self) -> int:
        return int(self.ignored.sum(dtype=np.int64))

    @cached_property
    def pixels(self) -> np.ndarray:
        """Pixels per class (C,) int64."""
        return self._sum_per_class(self.counts)

    @cached_property
    def images(self) -> np.ndarray:
        """Images per class (C,) int64."""
        return self._sum_per_class(None)

    @property
    def classes_per_image(self) -> np.ndarray:
        """Number of classes in each image (num_images,) int64."""
        return np.diff(self.indptr)

    @property
    def pixels_per_image(self) -> np.ndarray:
        """Pixels of each image that are not ignored (num_images,) int64."""
        before = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])
        return before[self.indptr[1:]] - before[self.indptr[:-1]]

    @cached_property
    def image_pixels(self) -> np.ndarray:
        """Pixels, not ignored, of the images that hold each class (C,) int64."""
        total = np.zeros(self.num_classes, dtype=np.int64)
        pixels = self.pixels_per_image
        for begin in range(0, self.num_images, _SLICE):
            rows = slice(begin, begin + _SLICE)
            sizes = self.classes_per_image[rows]
            first = self.indptr[begin]
            total += np.bincount(
                self.indices[first : first + sizes.sum()],
                weights=np.repeat(pixels[rows], sizes),
                minlength=self.num_classes,
            ).astype(np.int64)
        return total

    def classes_of(self, image: int) -> np.ndarray:
        """Classes in one image, ascending."""
        return self.indices[self.indptr[image] : self.indptr[image + 1]]

    @cached_property
    def images_by_class(self) -> tuple[np.ndarray, np.ndarray]:
        """The matrix by columns, ``(starts, images)``: images of class c, ascending, are
        ``images[starts[c]:starts[c + 1]]``.
        """
        starts = np.concatenate([[0], np.cumsum(self.images)])
        images = np.empty(len(self.indices), dtype=np.uint32)
        cursor = starts[:-1].copy()
        for begin in range(0, self.num_images, _SLICE):
            end = min(begin + _SLICE, self.num_images)
            classes = self.indices[self.indptr[begin] : self.indptr[end]]
            owner = np.repeat(
                np.arange(begin, end, dtype=np.uint32), np.diff(self.indptr[begin : end + 1])
            )
            owner = owner[np.argsort(classes, kind='stable')]
            found = np.bincount(classes, minlength=self.num_classes)
            stop = np.cumsum(found)
            for c in np.flatnonzero(found):
                images[cursor[c] : cursor[c] + found[c]] = owner[stop[c] - found[c] : stop[c]]
            cursor += found
        return starts, images

    def _sum_per_class(self, weights: np.ndarray | None) -> np.ndarray:
        total = np.zeros(self.num_classes, dtype=np.int64)
        for begin in range(0, len(self.indices), _SLICE):
            part = slice(begin, begin + _SLICE)
            # Weighted bincount adds in float64: exact, a slice holds fewer than 2**53 pixels.
            total += np.bincount(
                self.indices[part],
                weights=None if weights is None else weights[part],
                minlength=self.num_classes,
            ).astype(np.int64)
        return total

    @classmethod
    def from_entries(
        cls,
        class_names: Sequence[str],
        sizes: np.ndarray,
        classes: np.ndarray,
        counts: np.ndarray,
        ignored: np.ndarray,
        fingerprint: str = '',
        dataset: str = '',
    ) -> 'ClassStatistics':
        """Build from classes per image and the entries of all images one after the other."""
        indptr = np.zeros(len(sizes) + 1, dtype=np.int64)
        np.cumsum(sizes, out=indptr[1:])
        smallest = np.min_scalar_type(max(len(class_names) - 1, 0))
        return cls(
            tuple(class_names),
            indptr,
            np.asarray(classes).astype(smallest),
            np.asarray(counts).astype(np.uint32),
            np.asarray(ignored).astype(np.uint32),
            fingerprint,
            dataset,
        )

    @classmethod
    def from_rows(
        cls,
        class_names: Sequence[str],
        rows: Sequence[Sequence[int]],
        ignored: Sequence[int] | None = None,
        **labels: str,
    ) -> 'ClassStatistics':
        """Build from dense rows (num_images, C) of pixels per class."""
        rows = np.asarray(rows, dtype=np.int64).reshape(-1, len(class_names))
        image, classes = np.nonzero(rows)
        sizes = np.bincount(image, minlength=len(rows))
        ignored = np.zeros(len(rows)) if ignored is None else ignored
        return cls.from_entries(
            class_names, sizes, classes, rows[image, classes], ignored, **labels
        )

    @classmethod
    def scan(
        cls,
        dataset,
        ignore_index: int | None = None,
        shard: tuple[int, int] = (0, 1),
        workers: int | None = None,
        progress: bool = True,
    ) -> 'ClassStatistics':
        """Count the labels of a data set as its pipeline would see them.

        Args:
            dataset: an MMSegmentation data set, wrapped or not.
            ignore_index: label to leave out, by default the data set's own (255 in most).
            shard: ``(k, n)``: count the k-th of n equal parts of the label maps; the parts are
                joined by :func:`~mmseg_balance.statistics.shards.scan_shard`.
            workers: processes, one per core by default.
            progress: whether to draw a progress bar.

        Raises:
            ValueError: a label is neither a class nor ignored (names file, value and remedy).
        """
        source = LabelSource(dataset, ignore_index)
        part, parts = shard
        start, stop = (len(source) * k // parts for k in (part, part + 1))
        entries = count_labels(source, start, stop, workers, progress)
        found = cls.from_entries(
            source.class_names, *entries, fingerprint=source.fingerprint(), dataset=source.name
        )
        return found if parts > 1 or source.in_order else found.take(source.order)

    @classmethod
    def concatenate(
        cls, parts: 'Sequence[ClassStatistics]', fingerprint: str = ''
    ) -> 'ClassStatistics':
        """Join the images of several data sets that have the same classes, in order.

        The fingerprint of a data set that joins them does not follow from theirs.

        >>> a = ClassStatistics.from_rows(('sky', 'road'), [[3, 0]])
        >>> b = ClassStatistics.from_rows(('sky', 'road'), [[1, 4], [0, 2]])
        >>> ClassStatistics.concatenate([a, b]).pixels.tolist()
        [4, 6]
        """
        names = parts[0].class_names
        for part in parts[1:]:
            if part.class_names != names:
                raise ValueError(
                    f'statistics of the classes {list(part.class_names)} cannot join those of '
                    f'{list(names)}; classes and their order must be equal'
                )
        return cls.from_entries(
            names,
            *(
                np.concatenate([getattr(part, column) for part in parts])
                for column in ('classes_per_image', 'indices', 'counts', 'ignored')
            ),
            fingerprint,
            '+'.join(dict.fromkeys(part.dataset for part in parts)),
        )

    def __add__(self, other: 'ClassStatistics') -> 'ClassStatistics':
        return ClassStatistics.concatenate([self, other])

    def take(self, images: Sequence[int] | np.ndarray) -> 'ClassStatistics':
        """Statistics of the chosen images, in that order and as often as they are named."""
        images = np.asarray(images, dtype=np.int64)
        sizes = self.classes_per_image[images]
        first = np.cumsum(sizes) - sizes
        entries = np.arange(sizes.sum()) + np.repeat(self.indptr[images] - first, sizes)
        return ClassStatistics.from_entries(
            self.class_names,
            sizes,
            self.indices[entries],
            self.counts[entries],
            self.ignored[images],
            self.fingerprint,
            self.dataset,
        )

    def with_more_than(self, pixels: int) -> 'ClassStatistics':
        """Statistics of the same images without the entries of at most ``pixels`` pixels."""
        kept = self.counts > pixels
        before = np.concatenate([[0], np.cumsum(kept)])
        return ClassStatistics.from_entries(
            self.class_names,
            np.diff(before[self.indptr]),
            self.indices[kept],
            self.counts[kept],
            self.ignored,
            self.fingerprint,
            self.dataset,
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write one ``.npz`` file, whole or not at all."""
        return write_statistics_file(
            path,
            {name: getattr(self, name) for name in _LABELS},
            **{name: getattr(self, name) for name in ARRAYS},
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'ClassStatistics':
        """Read a file that :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no statistics file, or one of another version.
        """
        header, arrays = read_statistics_file(path)
        labels = {name: header[name] for name in _LABELS}
        return cls(**labels | {'class_names': tuple(header['class_names'])}, **arrays)
