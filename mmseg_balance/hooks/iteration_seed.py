"""Random numbers that depend on the seed and the iteration alone."""

import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds every iteration by its number, for exact resume.

    MMEngine's checkpoints hold no random state: after a resume dropout and augmentation draw other
    numbers than they would have drawn. With this hook what iteration i draws depends on the seed,
    the rank and i. Augmentation belongs to it where it happens in the process that trains
    (``num_workers=0``); workers have generators of their own.

    Convention: the seed is that of ``randomness = dict(seed=…)``, which the config must set.
    Loading batch i and training on it start from two different states.

    Example:
        >>> IterationSeedHook().priority
        'VERY_HIGH'
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        self._seed(runner, runner.iter)
        loop = runner.train_loop
        if hasattr(loop, 'dataloader_iterator'):
            # A resumed loop first takes the batches that were seen before, and draws for them.
            loop.dataloader_iterator = _seeding(
                loop.dataloader_iterator, lambda batch: self._seed(runner, batch)
            )

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self._seed(runner, runner.iter, step=1)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._seed(runner, runner.iter + 1)

    def after_val(self, runner: Runner) -> None:
        """Validation draws numbers too, and a resumed run may skip it."""
        self._seed(runner, runner.iter)

    def _seed(self, runner: Runner, iteration: int, step: int = 0) -> None:
        state = np.random.SeedSequence((runner.seed or 0, get_rank(), iteration, step))
        seed = int(state.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  the legacy state is what OpenMMLab's transforms draw from
        torch.manual_seed(seed)


def _seeding(batches: Iterator, seed: Callable[[int], None]) -> Iterator:
    """The same batches, each loaded from the random state of its own number."""
    number = 0
    while True:
        seed(number)
        yield next(batches)
        number += 1
