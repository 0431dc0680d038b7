"""A loss that is not a number ends the run with its name, not with a ruined checkpoint."""

import math

from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_balance.hooks.checkpoint_due import checkpoint_due


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops at a NaN or infinite loss and says which one, when, and what may help.

    Args:
        interval: iterations between two looks, each a host–device synchronisation. Also before
            every checkpoint, and at every iteration on a CPU, where looking is free.

    Example:
        >>> FiniteLossHook().interval
        50
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f'interval={interval} must be at least 1.')
        self.interval = interval

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        on_cpu = next(runner.model.parameters()).device.type == 'cpu'
        if not (
            on_cpu
            or self.every_n_train_iters(runner, self.interval)
            or checkpoint_due(runner)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            return
        losses = {
            name: float(value.detach()) for name, value in (outputs or {}).items() if 'loss' in name
        }
        bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
        if bad:
            names = [name for name in bad if name != 'loss'] or list(bad)
            raise FloatingPointError(
                f'iteration {runner.iter + 1}: {", ".join(names)} is {bad[names[0]]}: a label '
                'that is neither a class nor ignored is the likely cause (add dict(type='
                "'LabelCheckHook') to custom_hooks, which names the file); otherwise lower the "
                'learning rate, clip gradients (optim_wrapper.clip_grad), or, under --amp, train in '
                'float32; no checkpoint was saved from it'
            )
