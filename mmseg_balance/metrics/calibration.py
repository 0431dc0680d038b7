"""How far the predicted probabilities can be taken at their word."""

import logging

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from mmseg_balance.functional.arguments import json_name
from mmseg_balance.functional.calibration import (
    calibration_scores,
    expected_calibration_error,
    harmonic_mean,
)
from mmseg_balance.functional.confidence_bins import UNIT, CalibrationSums, calibration_sums
from mmseg_balance.functional.confusion import mean_over
from mmseg_balance.metrics.score_file import write_scores
from mmseg_balance.metrics.streamed import StreamedMetric, labels_and_prediction, pixel_map

TTA_REMEDY = (
    'evaluate without test-time augmentation (no --tta, no SegTTAModel) or DecisionSegmentor, or '
    'leave CalibrationMetric out of that evaluator.'
)


@METRICS.register_module()
class CalibrationMetric(StreamedMetric):
    """Calibration score, its harmonic means with accuracy and recall, ECE, MCE, NLL and Brier.

    Gives ``cal, S_acc, S_rec, ECE, MCE, cwECE, NLL, Brier`` over all labelled pixels of the data
    set; accuracy and class-averaged recall in ``S_acc`` and ``S_rec`` are those of the prediction
    that the model puts out (``pred_sem_seg``), which under a one-channel head depends on its
    threshold. See :func:`~mmseg_balance.functional.calibration.calibration_scores`.

    Keep the best checkpoint by it with ``CheckpointHook(save_best='S_rec', rule='greater')``.

    Args:
        num_bins: Bins of [0, 1].
        out_file: JSON file for the scores, null where undefined, and, per class and bin, the count of pairs, the count of
            positives and the sum of confidences, which ``mmseg-balance plot reliability`` draws.
        ignore_index: Label of the pixels to leave out.
        collect_device, prefix, collect_dir: See MMEngine's ``BaseMetric``.

    Attributes:
        bins: The content of ``out_file``'s ``bins`` after an evaluation, on the main rank.

    Raises:
        ValueError: ``num_bins`` below 1, an ``out_file`` that does not end in .json, logits that
            are not those of the prediction, or of another number of classes than the data set.
        KeyError: a data sample without labels, prediction or logits.

    Example (in a config)::

        val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='CalibrationMetric')]

    Reference:
        Taubert et al., "Loss Scheduling for Class-Imbalanced Image Segmentation Problems", 2020,
        equations 7 to 9.
    """

    def __init__(
        self,
        num_bins: int = 10,
        out_file: str | None = None,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if not isinstance(num_bins, int) or num_bins < 1:
            raise ValueError(f'num_bins is {num_bins!r}; it must be an integer of at least 1.')
        self.num_bins = num_bins
        self.out_file = json_name('out_file', out_file)
        self.ignore_index = ignore_index
        self.bins: dict | None = None

    def image_sums(self, data_sample: dict) -> tuple:
        labels, pred = labels_and_prediction(data_sample)
        scores = pixel_map(
            data_sample,
            'seg_logits',
            'a TTA model, an exported model or a file of predictions keeps the classes only; '
            + TTA_REMEDY,
        )
        told, classes = max(len(scores), 2), len(self.dataset_meta['classes'])
        if told != classes:
            raise ValueError(
                f'seg_logits tell {told} classes apart and the data set has {classes}: make '
                'num_classes of the head and the classes of the data set equal (one channel tells two '
                'classes apart, the background first).'
            )
        check_scores(scores, pred)
        # SegDataSample keeps logits of a softmax head but sigmoid values of a one-channel head.
        binary = len(scores) == 1
        sums = calibration_sums(
            scores[None],
            labels[None],
            self.num_bins,
            self.ignore_index,
            probabilities=binary,
            prediction=pred[None],
        )
        if sums.not_top and not binary:
            raise ValueError(
                f'pred_sem_seg is not the argmax of seg_logits at {sums.not_top} of {sums.pixels} '
                f'pixels, so the logits are not those of the prediction: {TTA_REMEDY}'
            )
        return (sums,)

    def scores(self, sums: CalibrationSums) -> dict[str, float]:
        result = calibration_scores(sums)
        pixels = sums.positive.sum(1)
        accuracy = sums.hits.sum() / sums.pixels if sums.pixels else float('nan')
        recall = mean_over(sums.hits / np.maximum(pixels, 1), pixels > 0)
        result['S_acc'] = harmonic_mean(result['cal'], accuracy)
        result['S_rec'] = harmonic_mean(result['cal'], recall)
        if sums.not_finite:
            print_log(
                f'{sums.not_finite} pixels have nan or infinite logits, so there are no '
                'calibration scores: has the training diverged?',
                logger='current',
                level=logging.WARNING,
            )
        self.bins = {
            'count': sums.count.tolist(),
            'positive': sums.positive.tolist(),
            'confidence': (sums.confidence * UNIT).tolist(),
        }
        print_log('\n' + self._table(sums), logger='current')
        classes = list(self.dataset_meta['classes'])
        write_scores(self.out_file, {'classes': classes, 'scores': result, 'bins': self.bins})
        return result

    def _table(self, sums: CalibrationSums) -> str:
        pairs = np.maximum(sums.count.sum(1), 1)
        columns = (
            sums.positive.sum(1) / pairs,
            sums.confidence.sum(1) * UNIT / pairs,
            expected_calibration_error(sums.count, sums.positive, sums.confidence * UNIT),
        )
        table = PrettyTable(['Class', 'Pixels', 'Mean probability', 'ECE'])
        for name, share, probability, error in zip(
            self.dataset_meta['classes'], *columns, strict=True
        ):
            table.add_row([name, f'{share:.4%}', f'{probability:.4%}', f'{error:.4f}'])
        return table.get_string()


def check_scores(scores: Tensor, pred: Tensor) -> None:
    """Raise unless ``scores (C, H, W)`` are the logits that ``pred (H, W)`` was taken from.

    A model that merges the views of test-time augmentation gives itself away: MMSegmentation's
    keeps one view's logits beside the merged prediction, others keep sums or means of
    probabilities. (One whose kept view agrees with the merged prediction on every pixel can't be
    told from a plain model.) Whether a prediction of several classes is the argmax is known only
    when the sums are made, and checked there.
    """
    if len(scores) == 1:
        if scores.min() < 0 or scores.max() > 1:
            raise ValueError(
                f'seg_logits of one channel hold {float(scores.min()):g} to {float(scores.max()):g}; '
                "MMSegmentation's segmentors put sigmoid values in [0, 1] there, and your own must too."
            )
        positive = scores[0][pred == 1]
        negative = scores[0][pred == 0]
        if positive.numel() and negative.numel() and positive.min() < negative.max():
            raise ValueError(
                'pred_sem_seg is not a threshold on seg_logits, so the probabilities are not those '
                f'of the prediction: {TTA_REMEDY}'
            )
        return
    row = scores[:, 0].double()
    views = float(row[:, 0].sum().round())
    if views >= 1 and row.min() >= 0 and ((row.sum(0) - views).abs() < 1e-2 * views).all():
        raise ValueError(
            f'seg_logits hold probabilities that add up to {views:g} at a pixel, not logits: {TTA_REMEDY}'
        )
