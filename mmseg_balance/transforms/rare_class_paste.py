"""Regions of rare classes, pasted from other images of the training set."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_balance.functional.arguments import positive
from mmseg_balance.functional.sampling import draw_by_class, rare_class_probabilities
from mmseg_balance.statistics import ClassStatistics, statistics_for_transform
from mmseg_balance.transforms.regions import find_regions, paste_region

LABEL_VALUES = 256


@TRANSFORMS.register_module()
class RareClassPaste(BaseTransform):
    r"""Paste connected regions of a rare class, cut out of another training image.

    A class is drawn with :math:`P(c) \propto e^{(1 - f_c)/T}` (as ``RareClassSampler`` does), an
    image that has it, and up to ``max_regions`` of its connected regions of ``min_pixels`` and
    more. Each is resized, mirrored at random and put about where it stood in its own image. Where
    ``ClassPerformanceSampler`` or ``RareClassSampler`` drew the image for a class, that class is
    pasted, so that classes come by the sampler's probabilities.

    It stands in the pipeline of MMSegmentation's ``MultiImageMixDataset``, whose inner data set
    loads images and labels; the one source image is loaded there, when it is needed, by the
    worker that needs it. Put it before resizing and cropping.

    Convention: a region covers only classes that have more pixels in the data set than its own,
    and ignored pixels; so it never covers a rarer class, nor another region of its own. Large
    regions are preferred: one is drawn by its pixels. A region of which less than ``min_visible``
    would be seen is left out. Pixels keep their values: nothing is blended. Only ``img`` and
    ``gt_seg_map`` are changed.

    Args:
        prob: share of images to paste into.
        temperature: T > 0; towards 0 only the rarest class, large: all classes alike.
        min_pixels: the least size of a region, before it is resized.
        max_regions: the most regions pasted into an image.
        scale_range: (smallest, largest) factor, drawn evenly on a logarithmic scale. Images of
            unequal heights count as equal: a region keeps its share of the height, times this.
        shift: how far a region's foot may move up or down and left or right, as shares of height
            and width; one number for both.
        min_visible: share of a region that must be seen, in (0, 1].
        statistics: path, ``'auto'`` (default) or object; of the inner data set.

    Raises:
        ValueError: an argument is out of range, the statistics are of other images, or images have
            a dtype that OpenCV does not resize.
        RuntimeError: it is in an ordinary pipeline.

    Reference: Ghiasi et al., *Simple copy-paste is a strong data augmentation method for instance
    segmentation*, CVPR 2021 (regions of all classes); the class by DAFormer's rarity.
    """

    def __init__(
        self,
        prob: float = 0.5,
        temperature: float = 0.01,
        min_pixels: int = 100,
        max_regions: int = 3,
        scale_range: tuple[float, float] = (0.75, 1.33),
        shift: float | tuple[float, float] = (0.02, 0.2),
        min_visible: float = 0.5,
        statistics: str | ClassStatistics | None = 'auto',
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], got {prob}')
        positive('temperature', temperature)
        for name, value in dict(min_pixels=min_pixels, max_regions=max_regions).items():
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        if len(scale_range) != 2 or not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f'scale_range must be (smallest, largest) above 0, got {scale_range}')
        if not 0 < min_visible <= 1:
            raise ValueError(f'min_visible must be in (0, 1], got {min_visible}')
        shift = (shift, shift) if isinstance(shift, (int, float)) else tuple(shift)
        if len(shift) != 2 or not min(shift) >= 0:
            raise ValueError(f'shift must be one or two numbers of at least 0, got {shift}')
        super().__init__()
        self.prob = prob
        self.temperature = temperature
        self.min_pixels = min_pixels
        self.max_regions = max_regions
        self.scale_range = tuple(scale_range)
        self.shift = shift
        self.min_visible = min_visible
        self.statistics = statistics
        self._dataset = None
        self._frequency: np.ndarray | None = None

    def get_indices(self, dataset) -> list[int]:
        """Take note of the data set, of which ``MultiImageMixDataset`` tells a transform here.

        Returns:
            No index: the image to mix in is loaded only if it is needed.
        """
        self._dataset = dataset
        return []

    def _look_up(self) -> None:
        found = statistics_for_transform(self.statistics, self._dataset)
        if found.num_images != len(self._dataset):
            raise ValueError(
                f'statistics={self.statistics!r} has {found.num_images} images, the data set '
                f"inside MultiImageMixDataset {len(self._dataset)}; write statistics='auto'"
            )
        enough = found.with_more_than(self.min_pixels - 1)
        self._available = enough.images > 0
        self._images_by_class = enough.images_by_class
        self._frequency = found.pixels / max(found.pixels.sum(), 1)
        self._probabilities = np.zeros(found.num_classes)
        if self._available.any():
            self._probabilities[self._available] = rare_class_probabilities(
                self._frequency[self._available], self.temperature
            )

    def transform(self, results: dict) -> dict:
        """Paste, with probability ``prob``; ``results['pasted']`` says what (class, pixels)."""
        if self._dataset is None:
            raise RuntimeError(
                "RareClassPaste works in the pipeline of a dataset=dict(type='MultiImageMixDataset'"
                ', dataset=…, pipeline=[…]): give it as train_dataloader.dataset'
            )
        # MMEngine seeds NumPy's global generator in every worker: all transforms draw from it.
        if np.random.rand() >= self.prob:  # noqa: NPY002
            return results
        if self._frequency is None:
            self._look_up()
        focus = getattr(results.get('sample_idx'), 'focus_class', None)
        if not self._available.any() or (focus is not None and not self._available[focus]):
            return results
        probabilities = self._probabilities
        if focus is not None:
            probabilities = np.eye(len(self._probabilities))[focus]
        wanted, index = draw_by_class(*np.random.rand(2), probabilities, *self._images_by_class)  # noqa: NPY002
        return self._paste(results, wanted, self._dataset[index])

    def _paste(self, results: dict, wanted: int, source: dict) -> dict:
        regions = find_regions(source['img'], source['gt_seg_map'], wanted, self.min_pixels)
        image, labels = results['img'].copy(), results['gt_seg_map'].copy()
        covers = np.ones(LABEL_VALUES, dtype=bool)
        # A class without a pixel in the statistics is an ignore_index below the number of classes.
        frequency = self._frequency
        covers[: len(frequency)] = (frequency > frequency[wanted]) | (frequency == 0)
        pixels = 0
        for k in self._choose([region.num_pixels for region in regions]):
            scale, foot = self._place(regions[k].foot, labels.shape)
            scale *= labels.shape[0] / source['gt_seg_map'].shape[0]
            mirrored = bool(np.random.randint(2))  # noqa: NPY002
            pixels += paste_region(
                image,
                labels,
                regions[k].resized(scale, mirrored),
                wanted,
                foot,
                covers,
                self.min_visible,
            )
        results['img'], results['gt_seg_map'] = image, labels
        results['pasted'] = (wanted, pixels)
        return results

    def _choose(self, sizes: list[int]) -> np.ndarray:
        number = min(len(sizes), np.random.randint(self.max_regions) + 1)  # noqa: NPY002
        if not number:
            return np.arange(0)
        shares = np.array(sizes) / sum(sizes)
        return np.random.choice(len(sizes), number, replace=False, p=shares)  # noqa: NPY002

    def _place(
        self, foot: tuple[float, float], shape: tuple[int, ...]
    ) -> tuple[float, tuple[float, float]]:
        low, high = np.log(self.scale_range)
        scale = float(np.exp(np.random.uniform(low, high)))  # noqa: NPY002
        moves = np.random.uniform(-1, 1, 2) * self.shift  # noqa: NPY002
        return scale, tuple((np.array(foot) + moves) * shape[:2])

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, temperature={self.temperature}, '
            f'min_pixels={self.min_pixels}, max_regions={self.max_regions})'
        )
