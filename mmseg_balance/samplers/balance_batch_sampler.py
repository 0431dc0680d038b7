"""Batches in which no class need be missing."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from mmengine import MessageHub
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.functional.balancing import (
    BalancedBatch,
    most_classes_possible,
    select_balanced_batch,
)
from mmseg_balance.samplers.counted_sampler import CountedSampler
from mmseg_balance.statistics import ClassStatistics, load_statistics

# A rank looks through this many images for each of its batch before it looks through all.
SAMPLE_PER_IMAGE = 64


@DATA_SAMPLERS.register_module()
class BalanceBatchSampler(CountedSampler):
    """Batches that hold at least ``min_classes`` classes (Huang et al., *Balance-batch*).

    A ``batch_sampler``: ``train_dataloader = dict(batch_size=8, batch_sampler=dict(
    type='BalanceBatchSampler', min_classes=24), …)``. Of ``sampler`` only the data set and the
    seed are used. What the classes of an image are is known from the statistics of whole label
    maps; a random crop later in the pipeline may lose some.

    Convention: batch i depends on the seed and i alone, so :meth:`jump` costs nothing. It is
    chosen from a random sample of ``64 * batch_size`` images for each rank; the ranks' samples of
    an iteration have no image in common, so that no image is in two ranks' batches. Only where a
    sample gives no such batch (in half of ``max_tries``), or has fewer than ``batch_size`` images,
    does the rank draw from all images. The sequence is endless in an iteration-based loop and
    ends after ``len`` batches in an epoch-based one (:class:`CountedSampler`). Each batch adds
    the number of discarded ones to the log as ``discarded_batches``.

    Args:
        sampler: any sampler with ``dataset`` and ``seed``, as the runner builds it.
        batch_size: images per batch and rank; with ``fill=False`` the most there can be.
        min_classes: least number of classes in a batch.
        fill: top up to ``batch_size`` with images at random; False is the paper's algorithm.
        min_images: least number of images in a batch with ``fill=False``, which tops up to it. One
            image may have all the classes, and batch norm on maps of 1x1 pixel (the image pooling
            of DeepLabV3) needs two.
        statistics: path, ``'auto'`` (default: scan the sampler's data set once) or object.
        max_tries: discarded batches before it gives up.

    Raises:
        ValueError: ``min_classes`` is more than the data can give, ``min_images`` more than
            ``batch_size``.
        RuntimeError: ``max_tries`` batches in a row had too few classes (names the best).
    """

    def __init__(
        self,
        sampler,
        batch_size: int,
        min_classes: int,
        fill: bool = True,
        min_images: int = 1,
        statistics: str | ClassStatistics | None = None,
        max_tries: int = 1000,
    ) -> None:
        for name, value in dict(
            batch_size=batch_size,
            min_classes=min_classes,
            min_images=min_images,
            max_tries=max_tries,
        ).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name} must be an integer of at least 1, got {value!r}')
        if min_images > batch_size:
            raise ValueError(
                f'min_images={min_images} must be at most batch_size={batch_size}, the most that '
                'a batch can have; lower it or raise batch_size'
            )
        super().__init__(sampler.seed)
        self.batch_size = batch_size
        self.min_classes = min_classes
        self.fill = fill
        self.min_images = min_images
        self.max_tries = max_tries
        self.statistics = load_statistics(statistics, sampler.dataset)
        self._check_possible()

    @property
    def sampler(self) -> 'BalanceBatchSampler':
        """Where MMEngine announces epochs to a batch sampler: ``batch_sampler.sampler``."""
        return self

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

    def __len__(self) -> int:
        """Batches in as many images as the data set has."""
        return max(1, self.statistics.num_images // (self.batch_size * self.world_size))

    def draw(self, k: int) -> list[int]:
        """Choose this rank's batch of iteration ``k`` and log how many were discarded for it."""
        batch = self.batch_of(k)
        MessageHub.get_current_instance().update_scalar('train/discarded_batches', batch.discarded)
        return list(batch.images)

    def batch_of(self, iteration: int) -> BalancedBatch:
        """Choose this rank's batch of one iteration."""
        rng = np.random.default_rng((self.seed, iteration, self.rank + 1))
        discarded = 0
        for pool, tries, patience in self._pools(iteration):
            batch = select_balanced_batch(
                self.statistics.indptr,
                self.statistics.indices,
                self._candidates(pool, rng),
                self.batch_size,
                self.min_classes,
                fill=self.fill,
                min_images=self.min_images,
                max_tries=tries,
                patience=patience,
                pool_size=len(pool),
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

    def _pools(self, iteration: int) -> Iterator[tuple[np.ndarray, int, int]]:
        """Images to choose from, in how many tries, and how many of them in vain end a try."""
        size = self.statistics.num_images
        # Every rank draws the same sample and takes its own part. NumPy needs 0.1 ms for it,
        # whatever the size; a permutation of 1e5 images takes 1.6 ms, of 1e7 images 580 ms.
        sample = np.random.default_rng((self.seed, iteration)).choice(
            size, min(size, SAMPLE_PER_IMAGE * self.batch_size * self.world_size), replace=False
        )
        own, tries = sample[self.rank :: self.world_size], self.max_tries
        if self.batch_size <= len(own) < size:
            yield own, max(1, tries // 2), 2 * len(own)
            tries -= tries // 2
        yield np.arange(size), tries, 1000

    def _candidates(self, pool: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
        """Yield the images of the pool in random order, over and over in another."""
        while True:
            yield from rng.permutation(pool).tolist()
