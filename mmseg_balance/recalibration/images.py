"""Validation images through the model: their logits, and their scores before and after a map."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from mmseg_balance.functional.calibration import calibration_scores
from mmseg_balance.functional.confidence_bins import UNIT, CalibrationSums, calibration_sums
from mmseg_balance.functional.confusion import confusion_matrix
from mmseg_balance.functional.groups import make_groups
from mmseg_balance.functional.labels import check_pair
from mmseg_balance.functional.per_image import per_image_scores
from mmseg_balance.recalibration.folding import predicted_logits
from mmseg_balance.recalibration.judgement import ImageSums
from mmseg_balance.recalibration.logit_map import LogitMap


@dataclass(frozen=True)
class Measured:
    """What the predictions of some images are worth: per image, and their calibration together."""

    sums: ImageSums
    calibration: CalibrationSums

    def scores(self, names: Sequence[str]) -> dict[str, float]:
        """The named scores over all images."""
        scores = calibration_scores(self.calibration) | per_image_scores(self.sums.confusions)
        return {name: scores[name] for name in names}


def groups_of(dataset, how: str) -> np.ndarray:
    """``(images,)`` group of every image of a data set, by the names of their files."""
    if how == 'images':
        return np.arange(len(dataset))
    names = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
    return make_groups(names, how)


def loader_of(config: Config, dataset, indices: Sequence[int]) -> DataLoader:
    """The validation's loader, over some of its images in their order."""
    part = Subset(dataset, list(indices))
    options = {**config.val_dataloader, 'dataset': part}
    options['sampler'] = dict(type='DefaultSampler', shuffle=False)
    options.pop('batch_sampler', None)
    options.setdefault('batch_size', 1)
    options['drop_last'] = False  # every image has a group and a map
    if len(part) == 1:
        options.update(num_workers=0, persistent_workers=False, prefetch_factor=None)
    return Runner.build_dataloader(options)


def images_of(model: nn.Module, loader: DataLoader, task: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits ``(1, C, H, W)`` and labels ``(1, H, W)`` of each image, one after the other."""
    print(f'{task}, {len(loader.dataset)} images')
    bar = ProgressBar(len(loader.dataset))
    for batch in loader:
        for sample in predicted_logits(model, batch):
            if 'gt_sem_seg' not in sample:
                raise ValueError('the validation images have no labels to calibrate on.')
            logits, labels = sample.seg_logits.data, sample.gt_sem_seg.data
            labels = labels.to(logits.device).reshape(labels.shape[-2:])
            check_pair(logits[0], labels)
            yield logits[None], labels[None]
            bar.update()
    print()


def measure(
    model: nn.Module,
    loader: DataLoader,
    maps: Sequence[LogitMap],
    threshold: float | None,
    ignore_index: int,
    num_bins: int,
) -> tuple[Measured, Measured, int]:
    """Scores of the logits as they are and as mapped, in one pass.

    Args:
        model, loader: Where logits and labels come from.
        maps: ``(images,)`` the map of each image.
        threshold: Of a one-channel head; None for others.
        ignore_index, num_bins: See
            :func:`~mmseg_balance.functional.confidence_bins.calibration_sums`.

    Returns:
        Before, after, and the number of predictions of labelled pixels that differ.
    """
    parts: tuple[list, list] = [], []
    changed = 0
    images = images_of(model, loader, 'Scores before and after')
    for logit_map, (logits, labels) in zip(maps, images, strict=True):
        versions = (
            (logits, threshold),
            (logit_map(logits), threshold and logit_map.threshold(threshold)),
        )
        predictions = [predict(scores, limit) for scores, limit in versions]
        for part, (scores, _), pred in zip(parts, versions, predictions, strict=True):
            part.append(
                (
                    calibration_sums(scores, labels, num_bins, ignore_index),
                    confusion_matrix(pred, labels, scores.shape[1], ignore_index).cpu().numpy(),
                )
            )
        counted = labels != ignore_index
        changed += int((predictions[0] != predictions[1])[counted].sum())
    before, after = (_measured(part) for part in parts)
    return before, after, changed


def predict(logits: Tensor, threshold: float | None) -> Tensor:
    """The model's own decision on ``(1, C, H, W)`` logits; a threshold on the second of two."""
    if threshold is None:
        return logits.argmax(1)
    return (logits[:, 1].sigmoid() > threshold).long()


def _measured(parts: list[tuple[CalibrationSums, np.ndarray]]) -> Measured:
    calibrations, confusions = zip(*parts, strict=True)
    sums = ImageSums(
        np.stack(confusions),
        np.array([part.nll * UNIT for part in calibrations]),
        np.array([part.pixels for part in calibrations]),
    )
    return Measured(sums, sum(calibrations[1:], calibrations[0]))
