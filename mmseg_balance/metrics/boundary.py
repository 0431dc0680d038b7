"""Scores of outlines and of centre lines, which the IoU of large regions hides."""

from collections.abc import Callable, Sequence

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmseg_balance.functional.arguments import json_name
from mmseg_balance.functional.boundary import (
    boundary_iou,
    boundary_sums,
    centerline_counts,
    centerline_dice,
)
from mmseg_balance.functional.confusion import mean_over
from mmseg_balance.metrics.score_file import write_scores
from mmseg_balance.metrics.streamed import StreamedMetric, class_indices, labels_and_prediction

UNIT = 2.0**-40  # of the sums of clDice over images: integers, whose order does not matter


@METRICS.register_module()
class BoundaryMetric(StreamedMetric):
    """Boundary IoU of the classes, and clDice of thin ones.

    Gives, as fractions and under the prefix ``boundary/``: ``mBoundaryIoU``, and with
    ``thin_classes`` ``clDice``, from the pixels of all images, and ``clDice_I``, the mean over the
    images that have the class in prediction or label (as in the paper); the means are over the
    chosen classes that occur. See :func:`~mmseg_balance.functional.boundary.boundary_iou` and
    :func:`~mmseg_balance.functional.boundary.centerline_dice`.

    Convention: an ignored pixel is in no boundary and makes none; for skeletons, which need
    complete regions, it is background in prediction and label alike.

    Args:
        classes: names or indices of the classes in ``mBoundaryIoU``; None means all.
        thin_classes: names or indices of the classes that have a centre line. Needs scikit-image.
        ratio: width of the boundary as a share of the image's diagonal.
        out_file: JSON file for the scores and the scores per class, null where undefined.
        ignore_index: label of the pixels to leave out.
        collect_device, prefix, collect_dir: see MMEngine's ``BaseMetric``.

    Raises:
        ValueError: a ratio that is not in (0, 1), an ``out_file`` that does not end in .json, or a
            class that the data set does not have.
        ImportError: ``thin_classes`` without scikit-image.

    Example (in a config)::

        val_evaluator = [
            dict(type='IoUMetric', iou_metrics=['mIoU']),
            dict(type='BoundaryMetric', thin_classes=['pole']),
        ]

    Reference:
        Cheng et al. 2021, Boundary IoU; Shit et al. 2021, clDice.
    """

    default_prefix = 'boundary'

    def __init__(
        self,
        classes: Sequence[int | str] | None = None,
        thin_classes: Sequence[int | str] = (),
        ratio: float = 0.02,
        out_file: str | None = None,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if not 0 < ratio < 1:
            raise ValueError(f'ratio={ratio} must be in (0, 1): 0.02 of the diagonal is common.')
        self.classes = classes
        self.thin_classes = thin_classes
        self.skeletonize = _skeletonize() if thin_classes else None
        self.ratio = ratio
        self.out_file = json_name('out_file', out_file)
        self.ignore_index = ignore_index

    def image_sums(self, data_sample: dict) -> tuple:
        labels, pred = labels_and_prediction(data_sample)
        names = self.dataset_meta['classes']
        edges = boundary_sums(pred, labels, len(names), self.ratio, self.ignore_index)
        labels, pred = labels.cpu().numpy(), pred.cpu().numpy()
        valid = labels != self.ignore_index
        lines = np.zeros((4, len(self.thin_classes)), np.int64)
        for k, c in enumerate(self._indices('thin_classes')):
            regions = (pred == c) & valid, (labels == c) & valid
            lines[:, k] = centerline_counts(*regions, *map(self.skeletonize, regions))
        dice = centerline_dice(lines)
        seen = ~np.isnan(dice)
        units = np.rint(np.nan_to_num(dice) / UNIT).astype(np.int64)
        return edges.cpu().numpy(), lines, units, seen.astype(np.int64)

    def scores(
        self, edges: np.ndarray, lines: np.ndarray, units: np.ndarray, images: np.ndarray
    ) -> dict[str, float]:
        names = list(self.dataset_meta['classes'])
        found = boundary_iou(edges)
        result = {'mBoundaryIoU': mean_over(found[self._indices('classes')])}
        per_class = {'BoundaryIoU': found}
        if self.thin_classes:
            over_images = np.where(images > 0, units * UNIT / np.maximum(images, 1), np.nan)
            for key, values in (('clDice', centerline_dice(lines)), ('clDice_I', over_images)):
                result[key] = mean_over(values)
                per_class[key] = np.full(len(names), np.nan)
                per_class[key][self._indices('thin_classes')] = values
        print_log('\n' + _table(names, per_class), logger='current')
        write_scores(self.out_file, {'classes': names, 'scores': result, 'per_class': per_class})
        return result

    def _indices(self, argument: str) -> list[int]:
        names = list(self.dataset_meta['classes'])
        members = getattr(self, argument)
        if members is None:
            return list(range(len(names)))
        return class_indices(members, names, argument)


def _skeletonize() -> Callable[[np.ndarray], np.ndarray]:
    try:
        from skimage.morphology import skeletonize
    except ImportError as error:
        raise ImportError(
            'BoundaryMetric(thin_classes=…) takes skeletons with scikit-image, which is not '
            "installed: pip install 'mmseg_balance[skeleton]', or leave thin_classes out."
        ) from error
    return skeletonize


def _table(names: list[str], per_class: dict[str, np.ndarray]) -> str:
    table = PrettyTable(['Class', *per_class])
    for index, name in enumerate(names):
        values = (values[index] for values in per_class.values())
        table.add_row([name, *('-' if np.isnan(value) else f'{value:.4f}' for value in values)])
    return table.get_string()
