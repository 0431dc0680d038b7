"""Batches in which no class need be missing."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from mmengine import MessageHub
from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.functional.balancing import (
    BalancedBatch,
    most_classes_possible,
    select_balanced_batch,
)
from mmseg_balance.functional.sampling import shuffled
from mmseg_balance.statistics import ClassStatistics, load_statistics


@DATA_SAMPLERS.register_module()
class BalanceBatchSampler:
    """Endless batches that hold at least ``min_classes`` classes (Huang et al., *Balance-batch*).

    A ``batch_sampler``: ``train_dataloader = dict(batch_size=8, batch_sampler=dict(
    type='BalanceBatchSampler', min_classes=24), …)``. Of ``sampler`` only the data set and the
    seed are used. What the classes of an image are is known from the statistics of whole label
    maps; a random crop later in the pipeline may lose some.

    Convention: batch i depends on the seed and i alone, so :meth:`jump` costs nothing. In one
    iteration each rank draws from its own share of a common random order, so that no image is in
    two ranks' batches; only where a share gives no such batch (in half of ``max_tries``), or has
    fewer than ``batch_size`` images, does the rank draw from all images. Each batch adds the
    number of discarded ones to the log as ``discarded_batches``.

    Args:
        sampler: any sampler with ``dataset`` and ``seed``, as the runner builds it.
        batch_size: images per batch and rank; with ``fill=False`` the most there can be.
        min_classes: least number of classes in a batch.
        fill: top up to ``batch_size`` with images at random; False is the paper's algorithm.
        statistics: path, ``'auto'`` (default: scan the sampler's data set once) or object.
        max_tries: discarded batches before it gives up.

    Raises:
        ValueError: ``min_classes`` is more than the data can give.
        RuntimeError: ``max_tries`` batches in a row had too few classes (names the best).
    """

    def __init__(
        self,
        sampler,
        batch_size: int,
        min_classes: int,
        fill: bool = True,
        statistics: str | ClassStatistics | None = None,
        max_tries: int = 1000,
    ) -> None:
        for name, value in dict(
            batch_size=batch_size, min_classes=min_classes, max_tries=max_tries
        ).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name} must be an integer of at least 1, got {value!r}')
        self.sampler = sampler
        self.batch_size = batch_size
        self.min_classes = min_classes
        self.fill = fill
        self.max_tries = max_tries
        self.statistics = load_statistics(statistics, sampler.dataset)
        self.seed = int(sampler.seed)
        self.rank, self.world_size = get_dist_info()
        self.iteration = 0
        self._check_possible()

    def _check_possible(self) -> None:
        found = self.statistics
        possible = most_classes_possible(found.indptr, found.images, self.batch_size)
        if self.min_classes > possible:
            raise ValueError(
                f'min_classes={self.min_classes} cannot be met: the training set shows '
                f'{np.count_nonzero(found.images)} classes in {found.num_images} images, and no '
                f'batch of {self.batch_size} can have more than {possible}; '
                'lower min_classes or raise batch_size'
            )

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            batch = self.batch_of(self.iteration)
            self.iteration += 1
            MessageHub.get_current_instance().update_scalar(
                'train/discarded_batches', batch.discarded
            )
            yield list(batch.images)

    def __len__(self) -> int:
        """Batches in as many images as the data set has."""
        return max(1, self.statistics.num_images // (self.batch_size * self.world_size))

    def jump(self, iteration: int) -> None:
        """Continue with the batch of ``iteration``."""
        self.iteration = iteration

    def batch_of(self, iteration: int) -> BalancedBatch:
        """Choose this rank's batch of one iteration."""
        size = self.statistics.num_images
        share = len(range(self.rank, size, self.world_size))
        if self.world_size > 1 and share >= self.batch_size:
            attempts = [
                (self.rank, self.world_size, max(1, self.max_tries // 2)),
                (0, 1, self.max_tries - self.max_tries // 2),
            ]
        else:
            attempts = [(0, 1, self.max_tries)]
        discarded = 0
        for first, step, tries in attempts:
            batch = select_balanced_batch(
                self.statistics.indptr,
                self.statistics.indices,
                self._candidates(iteration, first, step),
                self.batch_size,
                self.min_classes,
                fill=self.fill,
                max_tries=tries,
                pool_size=len(range(first, size, step)),
            )
            discarded += batch.discarded
            if batch.complete:
                return dataclasses.replace(batch, discarded=discarded)
        raise RuntimeError(
            f'no batch of {self.batch_size} images with min_classes={self.min_classes} in '
            f'max_tries={self.max_tries} tries: the training set shows '
            f'{np.count_nonzero(self.statistics.images)} classes, the best batch found had '
            f'{batch.num_classes}; lower min_classes or raise batch_size'
        )

    def _candidates(self, iteration: int, first: int, step: int) -> Iterator[int]:
        """Images ``first``, ``first + step``, … of the iteration's random order, over and over."""
        size = self.statistics.num_images
        share = len(range(first, size, step))
        # Ranks that take a share need a common order; one that takes all wants its own.
        order = (self.seed, iteration) if step > 1 else (self.seed, iteration, self.rank + 1)
        again, chunk = 0, 8 * self.batch_size
        while True:
            for start in range(0, share, chunk):
                own = np.arange(start, min(start + chunk, share))
                if again:
                    own = shuffled(own, share, (*order, self.rank, again))
                yield from shuffled(first + step * own, size, order).tolist()
            again += 1
