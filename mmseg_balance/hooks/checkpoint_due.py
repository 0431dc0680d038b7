"""Whether a checkpoint follows an iteration, for what must happen before it."""

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner


def checkpoint_due(runner: Runner) -> bool:
    """Whether a ``CheckpointHook`` that counts iterations saves after the current one."""
    return any(
        hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
        or (hook.save_last and hook.is_last_train_iter(runner))
        for hook in runner.hooks
        if isinstance(hook, CheckpointHook) and not hook.by_epoch
    )
