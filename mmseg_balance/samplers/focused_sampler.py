"""Samplers that draw a class first, and then an image for it."""

import math

import numpy as np

from mmseg_balance.functional.sampling import draw_by_class
from mmseg_balance.samplers.counted_sampler import CountedSampler
from mmseg_balance.samplers.focused_index import FocusedIndex
from mmseg_balance.statistics import ClassStatistics, load_statistics


class FocusedSampler(CountedSampler):
    """A class by its probability and an image that has it, all alike; or any image.

    A subclass has ``images_by_class``, as of :class:`ClassStatistics`, and ``probabilities_at``.
    Draw k depends on the seed, k and the probabilities alone; a rank takes each ``world_size``-th.

    Args:
        dataset: the training set.
        uniform_ratio: share of images drawn uniformly, in [0, 1].
        statistics: path, ``'auto'`` (scan the data set once) or object.
        seed: of the draws; common to all ranks.
        shuffle: True, what configs say of the ``InfiniteSampler`` that this one replaces.
    """

    images_by_class: tuple[np.ndarray, np.ndarray]

    def __init__(
        self,
        dataset,
        uniform_ratio: float,
        statistics: str | ClassStatistics | None,
        seed: int | None,
        shuffle: bool,
    ) -> None:
        if not 0 <= uniform_ratio <= 1:
            raise ValueError(f'uniform_ratio must be in [0, 1], got {uniform_ratio}')
        super().__init__(seed, shuffle)
        self.dataset = dataset
        self.uniform_ratio = uniform_ratio
        self.statistics = load_statistics(statistics, dataset)

    def probabilities_at(self, k: int) -> np.ndarray:
        """Probability of each class (C,) that holds for draw ``k`` of this rank."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Images of an epoch on one rank."""
        return math.ceil(self.statistics.num_images / self.world_size)

    def draw(self, k: int) -> FocusedIndex:
        """Make draw ``k`` of this rank."""
        turn = k * self.world_size + self.rank
        chance, which, image = np.random.default_rng((self.seed, turn)).random(3)
        if chance < self.uniform_ratio:
            return FocusedIndex(image * self.statistics.num_images)
        focus, index = draw_by_class(which, image, self.probabilities_at(k), *self.images_by_class)
        return FocusedIndex(index, focus)
