"""Images of rare classes, drawn by a temperature."""

import math

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.functional.sampling import draw_by_class, rare_class_probabilities
from mmseg_balance.samplers.counted_sampler import CountedSampler
from mmseg_balance.samplers.focused_index import FocusedIndex
from mmseg_balance.statistics import ClassStatistics, load_statistics


@DATA_SAMPLERS.register_module()
class RareClassSampler(CountedSampler):
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
        if not shuffle:
            raise ValueError('shuffle=False: RareClassSampler always draws at random')
        if not 0 <= uniform_ratio <= 1:
            raise ValueError(f'uniform_ratio must be in [0, 1], got {uniform_ratio}')
        if not temperature > 0:
            raise ValueError(f'temperature must be above 0, got {temperature}')
        super().__init__(seed)
        self.dataset = dataset
        self.uniform_ratio = uniform_ratio
        self.statistics = load_statistics(statistics, dataset)
        enough = self.statistics.with_more_than(min_pixels)
        available = enough.images > 0
        if not available.any():
            raise ValueError(
                f'no image has more than min_pixels={min_pixels} pixels of a class; lower it'
            )
        left_out = [
            name
            for name, pixels, there in zip(
                self.statistics.class_names, self.statistics.pixels, available, strict=True
            )
            if pixels and not there
        ]
        if left_out:
            print_log(
                f'RareClassSampler never draws {", ".join(left_out)}: no image has more '
                f'than min_pixels={min_pixels} pixels of it',
                'current',
                30,
            )
        self.images_by_class = enough.images_by_class
        self.probabilities = np.zeros(len(available))
        frequency = self.statistics.pixels / self.statistics.pixels.sum()
        self.probabilities[available] = rare_class_probabilities(frequency[available], temperature)

    def __len__(self) -> int:
        """Images of an epoch on one rank."""
        return math.ceil(self.statistics.num_images / self.world_size)

    def draw(self, k: int) -> FocusedIndex:
        """Make draw ``k`` of this rank."""
        turn = k * self.world_size + self.rank
        chance, which, image = np.random.default_rng((self.seed, turn)).random(3)
        if chance < self.uniform_ratio:
            return FocusedIndex(image * self.statistics.num_images)
        focus, index = draw_by_class(which, image, self.probabilities, *self.images_by_class)
        return FocusedIndex(index, focus)
