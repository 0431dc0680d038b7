"""One label map as the training pipeline would see it, and how many pixels of each class it has.

Of a pipeline only the transform that loads annotations is run. For MMSegmentation's own
``LoadAnnotations`` the histogram of the *stored* values is taken first and ``reduce_zero_label``
and ``label_map`` then move its 256 bins, which gives the same counts as moving the pixels.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import mmcv
import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations

from mmseg_balance.functional.labels import bad_labels_text

# Beyond this many label maps, size and date are looked up for an even spread of them only.
MAX_FILES_LOOKED_UP = 100_000
STORED_VALUES = 256


def find_label_loader(dataset) -> Callable:
    """Return the transform of ``dataset.pipeline`` that loads the annotations."""
    for transform in getattr(dataset.pipeline, 'transforms', ()):
        if 'Annotation' in type(transform).__name__:
            return transform
    raise ValueError(
        f'dataset {type(dataset).__name__} has no transform in its pipeline whose name contains '
        "'Annotation' (like LoadAnnotations), so its labels cannot be read"
    )


def class_names(dataset) -> tuple[str, ...]:
    """Return the names of the classes of a data set.

    Raises:
        ValueError: it names none.
    """
    names = tuple(dataset.metainfo.get('classes') or ())
    if not names:
        raise ValueError(
            f'dataset {type(dataset).__name__} names no classes: set metainfo=dict(classes=…)'
        )
    return names


def label_path(info: Mapping) -> str:
    """Return where the label map of an image is.

    Raises:
        ValueError: its data set lists none.
    """
    path = info.get('seg_map_path')
    if not path:
        raise ValueError(
            f'{info.get("img_path", "an image")} has no label map: set data_prefix=dict('
            'seg_map_path=…) of its data set; what is not segmentation, as depth, has no classes'
        )
    return path


def is_stock_loader(loader: Callable) -> bool:
    """Whether labels come about exactly as MMSegmentation's ``LoadAnnotations`` makes them."""
    kind = type(loader)
    return (
        isinstance(loader, LoadAnnotations)
        and kind._load_seg_map is LoadAnnotations._load_seg_map
        and kind.transform is LoadAnnotations.transform
    )


def reason_of(error: Exception) -> str:
    """What a decoder says, without the address of the object that it was given.

    >>> reason_of(OSError('cannot identify image file <_io.BytesIO object at 0x7f01>'))
    'cannot identify image file'
    """
    return re.sub(r' <\S+ object at 0x\w+>', '', str(error)).strip() or type(error).__name__


def check_stored(stored: np.ndarray, name: str) -> None:
    """See that ``LoadAnnotations``, which keeps 8 bits of a value, will not take 258 for class 2.

    Raises:
        ValueError: a stored value of the file ``name`` is larger.
    """
    if stored.dtype != np.uint8 and stored.max(initial=0) >= STORED_VALUES:
        raise ValueError(
            f'{name}: the stored value {stored.max()} does not fit into the 8 bits that '
            f'LoadAnnotations keeps, so it would be read as {stored.max() % STORED_VALUES}: '
            'store classes as 8-bit values'
        )


def move_bins(
    histogram: np.ndarray, reduce_zero_label: bool, label_map: dict[int, int] | None
) -> np.ndarray:
    """Apply ``reduce_zero_label`` and ``label_map`` to a histogram of stored label values.

    Convention: like ``LoadAnnotations``, value 0 becomes 255 and every other value one less
    (255 stays), then ``label_map`` renames all values at once; a new name below 0 wraps around
    in 8 bits.

    Args:
        histogram: pixels per stored value, shape (256,).
        reduce_zero_label: whether stored zeros are background to be ignored.
        label_map: old label to new label, or None.

    >>> stored = np.zeros(256, dtype=np.int64)
    >>> stored[[0, 1, 2, 255]] = 5, 7, 3, 1
    >>> moved = move_bins(stored, True, {1: 0})
    >>> moved[[0, 1, 255]].tolist()
    [10, 0, 6]
    """
    if reduce_zero_label:
        reduced = np.zeros_like(histogram)
        reduced[:254] = histogram[1:255]
        reduced[255] = histogram[0] + histogram[255]
        histogram = reduced
    if label_map:
        names = np.arange(STORED_VALUES)
        for old, new in label_map.items():
            if 0 <= old < STORED_VALUES:
                names[old] = new % STORED_VALUES
        renamed = np.zeros_like(histogram)
        np.add.at(renamed, names, histogram)
        histogram = renamed
    return histogram


@dataclass(frozen=True)
class LabelReader:
    """Counts the labels of one (unwrapped) data set, image by image."""

    dataset: object
    loader: Callable
    num_classes: int
    ignore_index: int

    @classmethod
    def of(cls, dataset, ignore_index: int | None = None) -> 'LabelReader':
        if ignore_index is None:
            ignore_index = getattr(dataset, 'ignore_index', 255)
        num_classes = len(class_names(dataset))
        return cls(dataset, find_label_loader(dataset), num_classes, int(ignore_index))

    def count(self, index: int) -> tuple[np.ndarray, int]:
        """Return the pixels per class (C,) of one image and how many pixels are ignored."""
        info = self.dataset.get_data_info(index)
        histogram = self._histogram(info)
        ignored = 0
        if 0 <= self.ignore_index < len(histogram):
            ignored = int(histogram[self.ignore_index])
            histogram[self.ignore_index] = 0
        beyond = np.flatnonzero(histogram[self.num_classes :])
        if beyond.size:
            values = self.num_classes + beyond
            raise ValueError(
                bad_labels_text(
                    _name(info), values, histogram[values], self.num_classes, self.ignore_index
                )
            )
        counts = np.zeros(self.num_classes, dtype=np.int64)
        counts[: len(histogram)] = histogram[: self.num_classes]
        return counts, ignored

    def _histogram(self, info: dict) -> np.ndarray:
        if not is_stock_loader(self.loader):
            labels = np.asarray(self.loader(info)['gt_seg_map'])
            if labels.min(initial=0) < 0:
                raise ValueError(f'{_name(info)}: label {labels.min()} is negative')
            return np.bincount(labels.ravel(), minlength=STORED_VALUES)
        stored = self.stored(info)
        if stored.ndim > 2:
            raise ValueError(
                f'{_name(info)}: a label map has one value per pixel, but this file has shape '
                f'{stored.shape}; convert colours to class indices first'
            )
        check_stored(stored, _name(info))
        histogram = np.bincount(
            stored.astype(np.uint8, copy=False).ravel(), minlength=STORED_VALUES
        )
        reduce = self.loader.reduce_zero_label
        if reduce is None:
            reduce = info['reduce_zero_label']
        return move_bins(histogram, reduce, info.get('label_map'))

    def stored(self, info: dict) -> np.ndarray:
        """The values in a file that MMSegmentation's ``LoadAnnotations`` reads, before it moves them.

        Raises:
            ValueError: the file cannot be decoded; names it.
        """
        content = fileio.get(label_path(info), backend_args=self.loader.backend_args)
        backend = self.loader.imdecode_backend
        try:
            stored = mmcv.imfrombytes(content, flag='unchanged', backend=backend)
            if stored is None:  # what OpenCV says
                raise ValueError('it is no image')
        except Exception as error:  # decoders raise whatever they like
            raise ValueError(
                f'{_name(info)}: cannot be decoded ({reason_of(error)}); replace the file or leave the image out'
            ) from error
        return stored.squeeze()

    def describe(self) -> dict:
        """Everything besides the files that decides what the counts are."""
        first = self.dataset.get_data_info(0) if len(self.dataset) else {}
        stock = is_stock_loader(self.loader)
        label_map = first.get('label_map') or {}
        return {
            'classes': list(class_names(self.dataset)),
            'label_map': sorted((int(old), int(new)) for old, new in label_map.items()),
            'reduce_zero_label': bool(first.get('reduce_zero_label')),
            'ignore_index': self.ignore_index,
            'loader': self.loader.imdecode_backend if stock else repr(self.loader),
        }

    def fingerprint(self) -> str:
        """Hash of the options, the label maps' names, and their sizes and dates if local."""
        digest = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        total = len(self.dataset)
        step = max(1, -(-total // MAX_FILES_LOOKED_UP))
        root = getattr(self.dataset, 'data_root', None) or ''
        for index in range(total):
            path = str(self.dataset.get_data_info(index).get('seg_map_path', index))
            digest.update(os.path.relpath(path, root).encode() if root else path.encode())
            if index % step == 0 and os.path.isfile(path):
                stat = os.stat(path)
                digest.update(f'{stat.st_size}@{stat.st_mtime_ns}'.encode())
        return digest.hexdigest()


def _name(info: dict) -> str:
    return str(info.get('seg_map_path', info.get('img_path', 'an image')))
