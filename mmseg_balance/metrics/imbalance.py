"""Scores that show what imbalance does: per class, class-averaged, and of head, body and tail."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmseg_balance.functional.arguments import json_name
from mmseg_balance.functional.confusion import (
    confusion_matrix,
    confusion_scores,
    frequency_groups,
    group_means,
)
from mmseg_balance.functional.per_image import per_image_scores
from mmseg_balance.metrics.confusion_file import save_confusions
from mmseg_balance.metrics.score_file import write_scores
from mmseg_balance.metrics.streamed import StreamedMetric, class_indices, labels_and_prediction
from mmseg_balance.statistics import load_statistics


@METRICS.register_module()
class ImbalanceMetric(StreamedMetric):
    """Accuracy, class-averaged recall, F1 and IoU, FWIoU, kappa, and mIoU by class frequency.

    Gives, as fractions in [0, 1] (kappa in [-1, 1]) and under the prefix ``imbalance/``: ``acc,
    mRecall, mF1, FWIoU, kappa, mIoU, mIoU_head, mIoU_body, mIoU_tail`` and ``ignored``, the number
    of labelled classes of which no pixel is found; ``mF1`` is nan if there is one. See
    :func:`~mmseg_balance.functional.confusion.confusion_scores` for the conventions.

    With ``per_image=True`` also ``mIoU_I``, the mean over the images, ``mIoU_C``, the mean over the
    classes of the mean over the images that have the class, and ``mIoU_worst10`` and
    ``mIoU_worst5``, the mean of the worst 10 % and 5 % of the images; see
    :func:`~mmseg_balance.functional.per_image.per_image_scores`. Then the metric holds the counts
    above zero of each image's confusion matrix, 8 bytes each, instead of sums alone, and at the end
    all matrices, 4 bytes for each of ``images * C * C`` numbers.

    Args:
        out_file: JSON file for the confusion matrix, the scores and the scores per class, null where
            undefined.
        groups: Class names or indices under ``head``, ``body``, ``tail`` or names of your own.
        statistics: Training-set statistics (path, ``'auto'`` or object) whose pixel counts split
            the classes into thirds. Default: the pixel counts of the evaluated labels.
        ignore_index: Label of the pixels to leave out.
        per_image: Add the scores of single images.
        save: ``.npz`` file for the confusion matrix of each image, ``(images, C, C)``, and the
            names of the images, see :mod:`mmseg_balance.metrics.confusion_file`; needs
            ``per_image=True``.
        collect_device, prefix, collect_dir: See MMEngine's ``BaseMetric``.

    Raises:
        ValueError: ``groups`` together with ``statistics``, a class that the data set does not have,
            statistics of other classes, ``save`` without ``per_image``, or a file of another suffix.

    Example (in a config)::

        val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='ImbalanceMetric')]
    """

    # IoUMetric has a mIoU too, and MMEngine refuses two metrics of one name.
    default_prefix = 'imbalance'

    def __init__(
        self,
        out_file: str | None = None,
        groups: Mapping[str, Sequence[int | str]] | None = None,
        statistics=None,
        ignore_index: int = 255,
        per_image: bool = False,
        save: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if groups is not None and statistics is not None:
            raise ValueError('groups and statistics both say which classes are rare; give one.')
        if save is not None and not per_image:
            raise ValueError(f'save is {save!r}, and per_image is False; set per_image=True.')
        if save is not None and Path(save).suffix != '.npz':
            raise ValueError(f'save is {save!r}; the name of the file must end in .npz.')
        self.out_file = json_name('out_file', out_file)
        self.per_image = per_image
        self.save = save
        self.groups = groups
        self.statistics = statistics
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add the images of a batch."""
        if not self.per_image:
            return super().process(data_batch, data_samples)
        for data_sample in data_samples:
            (confusion,) = self.image_sums(data_sample)
            self.results.append(_image_entry(confusion, data_sample.get('img_path', '')))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Pool the entries of all ranks, which come in the order of the data set."""
        if not self.per_image:
            return super().compute_metrics(results)
        if not results:
            return {}
        classes = self.dataset_meta['classes']
        confusions = _dense([cells for _, *cells in results], len(classes))
        if self.save is not None:
            names = _relative([path for path, *_ in results])
            save_confusions(self.save, confusions, names, classes)
        return self.scores(confusions.sum(0, dtype=np.int64), per_image_scores(confusions))

    def image_sums(self, data_sample: dict) -> tuple:
        labels, pred = labels_and_prediction(data_sample)
        confusion = confusion_matrix(
            pred, labels, len(self.dataset_meta['classes']), self.ignore_index
        )
        return (confusion.cpu().numpy(),)

    def scores(self, confusion: np.ndarray, of_images: Mapping | None = None) -> dict[str, float]:
        result = confusion_scores(confusion)
        groups = self._group_indices(confusion.sum(1))
        per_class = {name: result.pop(name) for name in ('IoU', 'recall', 'precision', 'F1')}
        for name, mean in group_means(per_class['IoU'], groups).items():
            result[f'mIoU_{name}'] = mean
        del result['mPrecision']
        result |= {name: value for name, value in (of_images or {}).items() if name not in result}
        classes = list(self.dataset_meta['classes'])
        print_log('\n' + _table(classes, confusion, per_class, groups), logger='current')
        report = {
            'classes': classes,
            'confusion': confusion,
            'scores': result,
            'per_class': per_class,
            'groups': groups,
        }
        write_scores(self.out_file, report)
        return result

    def _group_indices(self, label_pixels: np.ndarray) -> dict[str, list[int]]:
        if self.groups is None:
            return frequency_groups(self._pixels(label_pixels))
        names = list(self.dataset_meta['classes'])
        return {
            group: class_indices(members, names, f'groups[{group!r}]')
            for group, members in self.groups.items()
        }

    def _pixels(self, label_pixels: np.ndarray) -> np.ndarray:
        if self.statistics is None:
            return label_pixels
        pixels = load_statistics(self.statistics).pixels
        if len(pixels) != len(label_pixels):
            raise ValueError(
                f'statistics has {len(pixels)} classes and the data set {len(label_pixels)}; '
                'scan the training set of this data set with mmseg-balance class_stats.'
            )
        return pixels


def _image_entry(confusion: np.ndarray, path: str) -> tuple[str, np.ndarray, np.ndarray]:
    """The path of an image, and index and count of the cells above zero: few, even of many."""
    flat = confusion.ravel()
    cells = np.flatnonzero(flat)
    return str(path), cells.astype(np.uint32), flat[cells].astype(np.uint32)


def _dense(cells: list, num_classes: int) -> np.ndarray:
    """``(images, C, C)`` uint32 from index and count of the cells above zero of each image."""
    confusions = np.zeros((len(cells), num_classes**2), np.uint32)
    for row, (index, count) in zip(confusions, cells, strict=True):
        row[index] = count
    return confusions.reshape(-1, num_classes, num_classes)


def _relative(paths: list[str]) -> list[str]:
    """Paths without the folder that all have in common: the same on every machine."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # absolute and relative ones have no folder in common
        return paths
    return [os.path.relpath(path, folder) if folder else path for path in paths]


def _table(classes: list[str], confusion: np.ndarray, per_class: dict, groups: dict) -> str:
    share = confusion.sum(1) / max(confusion.sum(), 1)
    group_of = {index: name for name, members in groups.items() for index in members}
    table = PrettyTable(['Class', 'Pixels', *per_class, 'Group'])
    for index, name in enumerate(classes):
        values = [f'{values[index]:.4f}' for values in per_class.values()]
        table.add_row([name, f'{share[index]:.4%}', *values, group_of.get(index, '-')])
    return table.get_string()
