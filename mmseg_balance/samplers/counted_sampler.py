"""Samplers whose k-th item depends on k alone: endless, or in epochs that end."""

import itertools
from collections.abc import Iterator

from mmengine.dist import get_dist_info, sync_random_seed


class CountedSampler:
    """A sampler that can be entered anywhere, because :meth:`draw` makes item k from k alone.

    A subclass has ``draw(k)``, the k-th item of this rank, and ``__len__``, the items of an epoch
    on one rank.

    Convention: in an iteration-based loop the sequence is endless. In an epoch-based loop epoch e
    is items ``e * len(self)`` to ``(e + 1) * len(self)``, also in a run that is resumed. Which
    loop it is, is told by the order of two calls: an epoch-based loop announces each epoch
    (``set_epoch``, by MMEngine's ``DistSamplerSeedHook``) before it asks for an iterator,
    ``IterBasedTrainLoop`` asks first. ``endless`` overrides this for those who know better:
    ``FastResumeTrainLoop`` and ``ClassPerformanceHook`` set it.

    Args:
        seed: of the draws, common to all ranks; None: MMEngine draws one for all ranks.
        shuffle: True, what configs say of the ``InfiniteSampler`` that a subclass replaces.
    """

    def __init__(self, seed: int | None = None, shuffle: bool = True) -> None:
        if not shuffle:
            raise ValueError(f'shuffle=False: {type(self).__name__} always draws at random')
        self.seed = sync_random_seed() if seed is None else int(seed)
        self.rank, self.world_size = get_dist_info()
        self.position = 0
        self.endless: bool | None = None
        self._epoch: int | None = None

    def draw(self, k: int):
        """Make item ``k`` of this rank."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator:
        ends = self._epoch is not None if self.endless is None else not self.endless
        if not ends:
            return self._items()
        if self._epoch is not None:
            self.position = self._epoch * len(self)
        return itertools.islice(self._items(), len(self))

    def _items(self) -> Iterator:
        while True:
            item = self.draw(self.position)
            self.position += 1
            self.on_draw(item)
            yield item

    def on_draw(self, item) -> None:
        """Take note of an item that is about to be handed out."""

    def set_epoch(self, epoch: int) -> None:
        """Announce an epoch: the next iterator yields its items and ends."""
        self._epoch = epoch

    def jump(self, position: int) -> None:
        """Continue an endless sequence as if this rank had drawn ``position`` items."""
        self.position = position
