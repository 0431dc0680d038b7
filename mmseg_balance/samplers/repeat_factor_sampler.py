"""Images of rare classes, repeated."""

import math

import numpy as np
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.functional.repeat_factors import repeat_factors, repeated_images
from mmseg_balance.samplers.counted_sampler import CountedSampler
from mmseg_balance.statistics import ClassStatistics, load_statistics


@DATA_SAMPLERS.register_module()
class RepeatFactorSampler(CountedSampler):
    r"""All images, those of rare classes several times (LVIS repeat factor sampling).

    A class of frequency f has the factor :math:`\max(1, \sqrt{t / f})`, an image the largest
    factor of its classes. One pass is :math:`\lceil \sum_I r(I) \rceil` images in random order,
    rounded up to as many on each rank.

    Convention: pass p depends on the seed and p alone, ranks take every ``world_size``-th image
    of it, and :meth:`jump` makes only the pass that it lands in. The sequence is endless in an
    iteration-based loop; in an epoch-based one an epoch is a pass (:class:`CountedSampler`).

    Args:
        dataset: the training set.
        threshold: t, in (0, 1]; classes below it are repeated. LVIS, with 1203 classes of
            objects, uses 0.001 of images; stuff is in most images, so that 0.1 or more is needed.
        frequency: ``'images'`` (share of images that have the class) or ``'pixels'`` (share of
            labelled pixels).
        statistics: path, ``'auto'`` (default: scan the data set once) or object.
        seed: of the draws; common to all ranks.
        shuffle: True, what configs say of the ``InfiniteSampler`` that this one replaces.

    Raises:
        ValueError: an argument is out of range.

    Reference: Gupta et al., *LVIS*, CVPR 2019, appendix B.2.
    """

    def __init__(
        self,
        dataset,
        threshold: float,
        frequency: str = 'images',
        statistics: str | ClassStatistics | None = None,
        seed: int | None = None,
        shuffle: bool = True,
    ) -> None:
        if frequency not in ('images', 'pixels'):
            raise ValueError(f"frequency must be 'images' or 'pixels', got {frequency!r}")
        super().__init__(seed, shuffle)
        self.dataset = dataset
        self.statistics = load_statistics(statistics, dataset)
        found = self.statistics
        total = found.num_images if frequency == 'images' else max(found.pixels.sum(), 1)
        self.factors = repeat_factors(
            getattr(found, frequency) / total, threshold, found.indptr, found.indices
        )
        self._sum = self.factors.sum()
        self._made: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        """Images of a pass on one rank."""
        return math.ceil((self._sum - 1e-9) / self.world_size)

    @property
    def pass_size(self) -> int:
        """Images of a pass on all ranks; they divide it evenly, so that epochs stay passes."""
        return len(self) * self.world_size

    def draw(self, k: int) -> int:
        """Make draw ``k`` of this rank."""
        number, place = divmod(k * self.world_size + self.rank, self.pass_size)
        if self._made is None or self._made[0] != number:
            rng = np.random.default_rng((self.seed, number))
            self._made = number, repeated_images(self.factors, self.pass_size, rng)
        return int(self._made[1][place])
