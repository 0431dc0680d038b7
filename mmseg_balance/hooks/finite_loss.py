"""A loss that is not a number ends the run with its name, not with a ruined checkpoint."""

import math

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_balance.hooks.checkpoint_due import checkpoint_due
from mmseg_balance.hooks.label_check import LabelCheckHook


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops at a NaN or infinite loss and says which one, when, and what may help.

    Before a checkpoint and before a validation, after which the best weights may be saved, a loss
    of any rank stops all ranks: its gradient has reached the weights of all.

    Args:
        interval: iterations between two looks, each a host–device synchronisation. Also before
            every checkpoint and validation, and at every iteration on a CPU, where looking is
            free.

    Example:
        >>> FiniteLossHook().interval
        50
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f'interval={interval} must be at least 1.')
        self.interval = interval
        self._latest: tuple[int, dict] | None = None  # iteration, its losses

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        losses = {name: value.detach() for name, value in (outputs or {}).items() if 'loss' in name}
        self._latest = runner.iter + 1, losses
        on_cpu = next(runner.model.parameters()).device.type == 'cpu'
        if checkpoint_due(runner) or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._look(runner, all_ranks=True)
        elif on_cpu or self.every_n_train_iters(runner, self.interval):
            self._look(runner)

    def before_val(self, runner) -> None:
        """Look at the latest iteration, whose weights ``save_best`` may save."""
        if self._latest is not None:
            self._look(runner, all_ranks=True)

    def _look(self, runner, all_ranks: bool = False) -> None:
        """Raise if a loss is not finite; ``all_ranks`` needs a moment that is one on all ranks."""
        iteration, losses = self._latest
        values = {name: float(value) for name, value in losses.items()}
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        anywhere = torch.tensor(len(bad))
        if all_ranks:
            all_reduce(anywhere, op='max')
        if not anywhere:
            return
        names = [name for name in bad if name != 'loss'] or list(bad)
        what = (
            f'{", ".join(names)} is {bad[names[0]]}'
            if bad
            else 'a loss of another rank is not finite'
        )
        remedy = (
            'lower the learning rate, clip gradients (optim_wrapper.clip_grad), or, under --amp, '
            'train in float32; no checkpoint was saved from it'
        )
        if not any(isinstance(hook, LabelCheckHook) and hook.batches for hook in runner.hooks):
            remedy = (
                'a label that is neither a class nor ignored is the likely cause (add dict(type='
                "'LabelCheckHook') to custom_hooks, which names the file); otherwise " + remedy
            )
        raise FloatingPointError(f'iteration {iteration}: {what}: {remedy}')
