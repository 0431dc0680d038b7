"""What the training pipeline makes of a sample of the images."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.utils import ProgressBar
from mmseg.registry import DATASETS

from mmseg_balance.doctor.label_survey import Survey
from mmseg_balance.functional.sampling import evenly
from mmseg_balance.statistics.label_scan import unwrap

SAMPLE = 64  # images, evenly spread
PER_CLASS = 12  # images of each class at least, where there are so many
MAX_IMAGES = 256
MAX_SECONDS = 25.0
# Slow and without effect on labels.
NOT_RUN = ('PhotoMetricDistortion',)
MIN_COMPONENT = 4  # pixels of a component that counts
MAX_IMAGES_OF_COMPONENTS = 60


@dataclass
class PipelineSample:
    """Counts over the crops of sampled images.

    Args:
        images: index (in the training set) of each crop's image.
        present: ``(crops, C)`` whether a class is in the crop.
        shapes: height and width of each crop.
        scales: mean resize factor of each crop's image.
        errors: (image, message) of images that the pipeline failed on.
    """

    images: list[int] = field(default_factory=list)
    present: list[np.ndarray] = field(default_factory=list)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    num_classes: int = 0

    @property
    def scale(self) -> float:
        """Median resize factor of the training images."""
        return float(np.median(self.scales)) if self.scales else 1.0

    def survival(self, in_image: np.ndarray) -> np.ndarray:
        """Share of the crops of images with a class that still have it (C,), nan if unknown.

        Args:
            in_image: ``(crops, C)`` whether the class is in the crop's image.
        """
        present = np.array(self.present, dtype=bool).reshape(-1, self.num_classes)
        with np.errstate(invalid='ignore'):
            return (present & in_image).sum(0) / in_image.sum(0)


def choose_images(survey: Survey) -> list[int]:
    """Some images of every class, the rarest first, and an even spread of the training set.

    In that order: a slow pipeline, which is stopped early, has then seen the rare classes.
    """
    statistics = survey.statistics
    spread = evenly(statistics.num_images, SAMPLE).tolist()
    starts, by_class = statistics.images_by_class
    chosen: dict[int, None] = {}
    for c in np.argsort(statistics.images, kind='stable'):
        own = by_class[starts[c] : starts[c + 1]]
        if len(own) and len(chosen) < MAX_IMAGES - len(spread):
            chosen.update(dict.fromkeys(own[evenly(len(own), PER_CLASS)].tolist()))
    return list(chosen | dict.fromkeys(spread))[:MAX_IMAGES]


def run_pipeline(config: Config, survey: Survey, progress: bool = True) -> PipelineSample:
    """Run the training pipeline on a sample of images.

    Raises:
        Exception: whatever building the data set raises.
    """
    dataset = DATASETS.build(config.train_dataloader.dataset.to_dict())
    sample = PipelineSample(num_classes=len(survey.class_names))
    _run(dataset, 0, sample, survey, keep=False)  # with every transform, once
    if sample.errors:
        return sample
    _leave_out_slow_steps(dataset)
    images = choose_images(survey)
    bar = ProgressBar(len(images), file=sys.stderr) if progress else None
    start = time.monotonic()
    for index in images:
        _run(dataset, index, sample, survey)
        if bar:
            bar.update()
        if time.monotonic() - start > MAX_SECONDS and len(sample.images) >= 16:
            break
    if bar:
        bar.file.write('\n')
    return sample


def _run(dataset, index: int, sample: PipelineSample, survey: Survey, keep: bool = True) -> None:
    try:
        packed = dataset[index]
        labels = np.asarray(packed['data_samples'].gt_sem_seg.data).squeeze()
        height, width = packed['inputs'].shape[-2:]
    except Exception as error:
        place = _path_of(dataset, index)
        sample.errors.append((place, f'{type(error).__name__}: {error}'))
        return
    if not keep:
        return
    counts = np.bincount(labels.ravel()[labels.ravel() >= 0], minlength=sample.num_classes)
    if 0 <= survey.ignore_index < len(counts):
        counts[survey.ignore_index] = 0
    sample.images.append(index)
    sample.present.append(counts[: sample.num_classes] > 0)
    sample.shapes.append((int(height), int(width)))
    factor = packed['data_samples'].metainfo.get('scale_factor')
    if factor is not None:
        sample.scales.append(float(np.mean(factor)))


def _path_of(dataset, index: int) -> str:
    try:
        pieces = unwrap(dataset)
        for leaf, images in pieces:
            if index < len(images):
                info = leaf.get_data_info(int(images[index]))
                return str(info.get('img_path', index))
            index -= len(images)
    except Exception:  # a data set of another make
        pass
    return f'image {index}'


def _leave_out_slow_steps(dataset) -> None:
    for leaf in {id(leaf): leaf for leaf, _ in unwrap(dataset)}.values():
        steps = getattr(getattr(leaf, 'pipeline', None), 'transforms', None)
        if steps:
            kept = [step for step in steps if type(step).__name__ not in NOT_RUN]
            leaf.pipeline = Compose(kept)


def lost_components(
    labels: Sequence[np.ndarray], num_classes: int, ignore_index: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Connected components of each class that vanish when label maps are resized.

    A component is lost if no pixel of the smaller map, taken by nearest neighbour, falls in it.

    Args:
        labels: label maps ``(H, W)``.
        num_classes: number of classes C.
        ignore_index: label of pixels that do not count.
        scale: resize factor.

    Returns:
        Components and lost components of each class, ``(C,)`` each; those of fewer than four
        pixels do not count.

    >>> label = np.zeros((8, 8), dtype=np.uint8)
    >>> label[:, 3] = 1
    >>> [counts.tolist() for counts in lost_components([label], 2, 255, 0.25)]
    [[2, 1], [0, 1]]
    """
    total, lost = np.zeros(num_classes, dtype=int), np.zeros(num_classes, dtype=int)
    for one in labels:
        size = [max(1, round(side * scale)) for side in one.shape]
        for c in np.unique(one):
            if c == ignore_index or not 0 <= c < num_classes:
                continue
            _, which, measures, _ = cv2.connectedComponentsWithStats(
                (one == c).astype(np.uint8), connectivity=8
            )
            large = np.flatnonzero(measures[:, cv2.CC_STAT_AREA] >= MIN_COMPONENT)
            large = large[large > 0]
            small = cv2.resize(
                which.astype(np.float32), size[::-1], interpolation=cv2.INTER_NEAREST
            )
            kept = np.unique(small).astype(int)
            total[c] += len(large)
            lost[c] += len(np.setdiff1d(large, kept))
    return total, lost


def images_for_components(survey: Survey, classes: Sequence[int]) -> list[int]:
    """Files, spread over those that hold one of some classes (by index of the label source)."""
    statistics = survey.statistics
    starts, by_class = statistics.images_by_class
    share = max(1, MAX_IMAGES_OF_COMPONENTS // max(1, len(classes)))
    chosen: dict[int, None] = {}
    for c in classes:
        own = by_class[starts[c] : starts[c + 1]]
        few = own[evenly(len(own), share)]
        chosen.update(dict.fromkeys(survey.source.order[few].tolist()))
    return list(chosen)[:MAX_IMAGES_OF_COMPONENTS]
