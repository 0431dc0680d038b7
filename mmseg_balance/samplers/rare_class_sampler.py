"""Images of rare classes, drawn by a temperature."""

import logging

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.functional.arguments import positive
from mmseg_balance.functional.sampling import rare_class_probabilities
from mmseg_balance.samplers.focused_sampler import FocusedSampler
from mmseg_balance.statistics import ClassStatistics


@DATA_SAMPLERS.register_module()
class RareClassSampler(FocusedSampler):
    r"""Images of a class drawn by its rarity (DAFormer's rare class sampling).

    A class with :math:`P(c) \propto e^{(1 - f_c)/T}`, where :math:`f_c` is its share of the
    labelled pixels, then an image that has more than ``min_pixels`` pixels of it, all alike; with
    probability ``uniform_ratio`` any image instead. ``ClassCenteredCrop`` and ``RareClassPaste``
    are told the class; DAFormer itself crops up to ten times until the crop shows enough of it.

    Convention: draw k depends on the seed and k alone, ranks take every ``world_size``-th draw,
    and :meth:`jump` costs nothing. The sequence is endless in an iteration-based loop and ends
    after ``len`` images in an epoch-based one (:class:`CountedSampler`).

    Args:
        dataset: the training set.
        temperature: T > 0; towards 0 only the rarest class, large: all classes alike.
        min_pixels: an image counts for a class with more pixels of it than this (DAFormer: 3000
            at full resolution). Classes that have no such image are not drawn, and logged.
        uniform_ratio: share of images drawn uniformly, in [0, 1]; 0 is DAFormer.
        statistics: path, ``'auto'`` (default: scan the data set once) or object.
        seed: of the draws; common to all ranks.
        shuffle: True, what configs say of the ``InfiniteSampler`` that this one replaces.

    Raises:
        ValueError: an argument is out of range, or no class has an image of ``min_pixels``.

    Reference: Hoyer et al., *DAFormer*, CVPR 2022, section 3.3, equations 8 and 9.
    """

    def __init__(
        self,
        dataset,
        temperature: float = 0.01,
        min_pixels: int = 0,
        uniform_ratio: float = 0.0,
        statistics: str | ClassStatistics | None = None,
        seed: int | None = None,
        shuffle: bool = True,
    ) -> None:
        positive('temperature', temperature)
        if not min_pixels >= 0:
            raise ValueError(f'min_pixels must be at least 0, got {min_pixels}')
        super().__init__(dataset, uniform_ratio, statistics, seed, shuffle)
        enough = self.statistics.with_more_than(min_pixels)
        available = enough.images > 0
        if not available.any():
            remedy = 'lower it' if min_pixels else 'all labels are ignored: look at ignore_index'
            raise ValueError(
                f'no image has more than min_pixels={min_pixels} pixels of a class; {remedy}'
            )
        left_out = [
            self.statistics.class_names[c]
            for c in np.flatnonzero((self.statistics.pixels > 0) & ~available)
        ]
        if left_out:
            print_log(
                f'RareClassSampler never draws {", ".join(left_out)}: no image has more '
                f'than min_pixels={min_pixels} pixels of it',
                logger='current',
                level=logging.WARNING,
            )
        self.images_by_class = enough.images_by_class
        self.probabilities = np.zeros(len(available))
        frequency = self.statistics.pixels / self.statistics.pixels.sum()
        self.probabilities[available] = rare_class_probabilities(frequency[available], temperature)

    def probabilities_at(self, k: int) -> np.ndarray:
        """The same for every draw."""
        return self.probabilities
