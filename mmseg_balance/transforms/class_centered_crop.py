"""Crops that show a class for sure."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import TRANSFORMS

from mmseg_balance.functional.arguments import positive
from mmseg_balance.functional.sampling import rare_class_probabilities
from mmseg_balance.statistics import ClassStatistics, statistics_for_transform


@TRANSFORMS.register_module()
class ClassCenteredCrop(BaseTransform):
    """Crop around a random pixel of a class that wants showing.

    The class is the one that ``ClassPerformanceSampler`` or ``RareClassSampler`` drew the image
    for; without one, a class of the image, rare ones first: P(c) proportional to
    exp((1 - f_c) / temperature), DAFormer's rare class sampling, with f_c the class's share of the
    data set's pixels (``statistics``) or, without statistics, of this image's.

    Convention: the window is centred on the pixel and pushed back inside the image. As with
    ``RandomCrop``, an image smaller than ``crop_size`` gives a smaller crop, which the data
    preprocessor pads. Where the class (after resizing) or any class is absent, with
    probability 1 - ``prob``, and by ``only_drawn`` for an image that was drawn for no class, it is
    ``RandomCrop`` itself. Nothing is tried twice.

    Args:
        crop_size: (height, width) or one number for both, in pixels.
        prob: share of images to crop around a class.
        temperature: above 0; towards 0 only the rarest class, large: all alike.
        statistics: path, object, None, or ``'auto'``, which ``FastResumeTrainLoop`` looks up
            before the loader's workers start, and otherwise the first process that needs it.
        cat_max_ratio: of ``RandomCrop``, for the crops that are not around a class.
        ignore_index: label of pixels that are no class.
        only_drawn: whether to crop around the class that a sampler drew the image for and no
            other. With ``prob=1`` and ``uniform_ratio`` of the sampler, the share of centred crops
            is ``1 - uniform_ratio`` (Rota Bulo et al., *Loss max-pooling*, section 5.1).

    Raises:
        ValueError: an argument is out of range, or an image has a label that ``statistics`` lack.

    Reference: Hoyer et al., *DAFormer*, CVPR 2022, section 3.3 (the class of an image).
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        prob: float = 0.5,
        temperature: float = 0.01,
        statistics: str | ClassStatistics | None = None,
        cat_max_ratio: float = 1.0,
        ignore_index: int = 255,
        only_drawn: bool = False,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], got {prob}')
        positive('temperature', temperature)
        size = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(
                f'crop_size must be (height, width) or one number, integers above 0, got {crop_size}'
            )
        super().__init__()
        self.plain = RandomCrop(size, cat_max_ratio, ignore_index)
        self.crop_size = size
        self.ignore_index = ignore_index
        self.prob = prob
        self.temperature = temperature
        self.statistics = statistics
        self.only_drawn = only_drawn
        self._frequency: np.ndarray | None = None

    def prepare(self, dataset=None) -> None:
        """Look up the class frequencies of the data set, if they are asked for.

        Args:
            dataset: the training set that ``'auto'`` means; by default that of the loader's
                worker, or of the run in progress.
        """
        if self.statistics is not None and self._frequency is None:
            pixels = statistics_for_transform(self.statistics, dataset).pixels
            self._frequency = pixels / pixels.sum()

    @cache_randomness
    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Choose the window ``(top, bottom, left, right)``."""
        labels = results['gt_seg_map']
        # MMEngine seeds NumPy's global generator in every worker: all transforms draw from it.
        if np.random.rand() < self.prob:  # noqa: NPY002
            focus = getattr(results.get('sample_idx'), 'focus_class', None)
            if focus is None and not self.only_drawn:
                focus = self._rare_class(labels)
            where = np.flatnonzero(labels == focus) if focus is not None else ()
            if len(where):
                chosen = where[np.random.randint(len(where))]  # noqa: NPY002
                pixel = divmod(int(chosen), labels.shape[1])
                return self._window(pixel, labels.shape)
        return self.plain.crop_bbox(results)

    def _rare_class(self, labels: np.ndarray) -> int | None:
        # Ignored pixels may be negative; bytes cannot be, and need no copy.
        counts = np.bincount(labels.ravel() if labels.dtype.kind == 'u' else labels[labels >= 0])
        if 0 <= self.ignore_index < len(counts):
            counts[self.ignore_index] = 0
        present = np.flatnonzero(counts)
        if not len(present):
            return None
        if self.statistics is None:
            frequency = counts[present] / counts.sum()
        else:
            self.prepare()
            if present[-1] >= len(self._frequency):
                raise ValueError(
                    f'label {present[-1]} is no class of the statistics, which have '
                    f'{len(self._frequency)}: statistics and data set must have the same classes'
                )
            frequency = self._frequency[present]
        return int(
            np.random.choice(  # noqa: NPY002
                present, p=rare_class_probabilities(frequency, self.temperature)
            )
        )

    def _window(self, pixel: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, ...]:
        edges = []
        for centre, length, size in zip(pixel, shape, self.crop_size, strict=False):
            start = min(max(centre - size // 2, 0), max(length - size, 0))
            edges += [start, start + size]
        return tuple(edges)

    def transform(self, results: dict) -> dict:
        """Crop the image and its label maps."""
        window = self.crop_bbox(results)
        for key in ('img', *results.get('seg_fields', [])):
            results[key] = self.plain.crop(results[key], window)
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(crop_size={self.crop_size}, prob={self.prob}, '
            f'temperature={self.temperature}, only_drawn={self.only_drawn})'
        )
