"""Resuming a run without loading again what it has already been trained on."""

import itertools
from collections.abc import Iterator

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop
from mmseg.registry import LOOPS
from torch.utils.data import DataLoader

from mmseg_balance.statistics import unwrap


@LOOPS.register_module()
class FastResumeTrainLoop(IterBasedTrainLoop):
    """``IterBasedTrainLoop`` that jumps to the iteration it resumes at.

    ``train_cfg = dict(type='FastResumeTrainLoop', max_iters=…, val_interval=…)``. MMEngine's
    loop loads every batch that was seen before (mmengine issues 1520 and 1633); here the sampler
    jumps, if it can: this package's samplers (and any sampler with a method ``jump``) at once,
    MMEngine's ``InfiniteSampler`` at about 10 ns per image seen. With any
    other sampler the loop does what MMEngine's does.

    Convention: the sequence of image indices is that of an uninterrupted run. Random
    augmentation is not: MMEngine seeds the workers again whenever they start. Workers start with
    the first batch, when everything that the checkpoint holds has been restored and transforms
    that have a method ``prepare`` have had it called.

    Args: those of ``IterBasedTrainLoop``.
    """

    def __init__(self, runner, dataloader: DataLoader | dict, *args, **kwargs) -> None:
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(
                dataloader,
                seed=runner.seed,
                diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False),
            )
        for sampler in (dataloader.batch_sampler, dataloader.sampler):
            if hasattr(sampler, 'endless'):
                sampler.endless = True
        super().__init__(runner, _StartedOnFirstUse(dataloader), *args, **kwargs)
        self.dataloader = dataloader

    def run(self):
        """Train, from the iteration at which the run stands."""
        for dataset, _ in unwrap(self.dataloader.dataset):
            for transform in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
                if hasattr(transform, 'prepare'):
                    transform.prepare(self.dataloader.dataset)
        if self._iter > 0 and jump(self.dataloader, self._iter):
            print_log(
                f'the samplers jumped to iteration {self._iter}: no batch before it is '
                'loaded, whatever the next line says',
                'current',
            )
            # The parent calls next() once for each iteration done: give it blanks.
            self.dataloader_iterator = itertools.chain(
                itertools.repeat(None, self._iter), self.dataloader_iterator
            )
        try:
            return super().run()
        finally:
            # Ends the workers here and now, not when a garbage collection comes across them.
            self.dataloader_iterator = iter(())


class _StartedOnFirstUse:
    """A data loader whose iterator starts its workers only when the first batch is asked for."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader

    def __getattr__(self, name: str):
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator:
        # PyTorch draws a number when it starts a loader: an uninterrupted run has drawn it before.
        state = torch.get_rng_state()
        batches = iter(self._loader)
        torch.set_rng_state(state)
        yield from batches


def jump(loader: DataLoader, iteration: int) -> bool:
    """Let a loader continue with the batch of ``iteration``; False if its sampler cannot."""
    for sampler, steps in (
        (loader.batch_sampler, iteration),
        (loader.sampler, iteration * (loader.batch_size or 0)),
    ):
        if hasattr(sampler, 'jump'):
            sampler.jump(steps)
            return True
    # A foreign batch sampler may take any number of images for a batch: only its author knows.
    if type(loader.sampler) is InfiniteSampler and loader.batch_size:
        jump_infinite_sampler(loader.sampler, iteration * loader.batch_size)
        return True
    return False


def jump_infinite_sampler(sampler: InfiniteSampler, draws: int) -> None:
    """Let an ``InfiniteSampler`` continue as if its rank had drawn ``draws`` images."""
    position = sampler.rank + draws * sampler.world_size
    indices = _indices_from(sampler.size, sampler.seed, sampler.shuffle, position)
    sampler.indices = itertools.islice(indices, 0, None, sampler.world_size)


def _indices_from(size: int, seed: int, shuffle: bool, position: int) -> Iterator[int]:
    epochs, offset = divmod(position, size)
    generator = torch.Generator().manual_seed(seed)

    def order() -> torch.Tensor:
        return torch.randperm(size, generator=generator) if shuffle else torch.arange(size)

    # Each order follows from where the one before left the generator, so they are all made.
    for _ in range(epochs):
        order()
    yield from order()[offset:].tolist()
    while True:
        yield from order().tolist()
