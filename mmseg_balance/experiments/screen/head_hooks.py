"""Hooks that were written for a network with one head, at work on one head of many."""

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_balance.experiments.screen.bank import HeadBank


class HeadView:
    """A runner as the hooks of one head see it: its model is that head.

    Args:
        runner: The runner of the bank.
        name: The head.
        hooks: The hooks of that head; those of the runner itself follow them.
    """

    def __init__(self, runner, name: str, hooks: list[Hook]) -> None:
        self._runner = runner
        self.hooks = [*hooks, *runner.hooks]
        self.model = runner.model.tasks[name]

    def __getattr__(self, name: str):
        return getattr(self._runner, name)


class HeadHook(Hook):
    """Calls a hook for one head, until that head fails; state in checkpoints is kept per head.

    Args:
        hook: Written for a runner whose model has one head, such as ``LossScheduleHook``.
        name: The head.
        hooks: The hooks of that head, which this one sees in ``runner.hooks``.
    """

    def __init__(self, hook: Hook, name: str, hooks: list[Hook]) -> None:
        self.hook, self.name, self.hooks = hook, name, hooks
        self.priority = hook.priority

    def _call(self, point: str, runner, *args, **kwargs) -> None:
        bank: HeadBank = runner.model
        if self.name in bank.failed:
            return
        if 'outputs' in kwargs:
            kwargs['outputs'] = bank.outputs.get(self.name)
        try:
            getattr(self.hook, point)(HeadView(runner, self.name, self.hooks), *args, **kwargs)
        except Exception as error:
            if get_world_size() > 1:  # the other processes would wait for this head
                raise
            bank.fail(self.name, error)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self._call('before_save_checkpoint', runner, _part(checkpoint, self.name))

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._call('after_load_checkpoint', runner, _part(checkpoint, self.name))


def _part(checkpoint: dict, name: str) -> dict:
    return checkpoint.setdefault('hooks_of_heads', {}).setdefault(name, {})


def _forward(point: str):
    def call(self, runner, *args, **kwargs) -> None:
        self._call(point, runner, *args, **kwargs)

    return call


for _point in (
    *(f'{when}_{what}' for when in ('before', 'after') for what in ('run', 'train', 'train_epoch')),
    'before_train_iter',
    'after_train_iter',
):
    setattr(HeadHook, _point, _forward(_point))


def hooks_for_head(name: str, configs: list[dict]) -> list[HeadHook]:
    """Build the custom hooks of a head's config, each for this head alone."""
    hooks = []
    for config in configs:
        settings = dict(config)
        priority = settings.pop('priority', None)
        hook = HOOKS.build(settings)
        if priority is not None:
            hook.priority = priority
        hooks.append(hook)
    return [HeadHook(hook, name, hooks) for hook in hooks]


class BankHook(Hook):
    """Keeps what a bank has to remember over a restart: failed heads and seconds spent."""

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        # MMEngine leaves this out for several optimizers; gradient accumulation needs it.
        for name, wrapper in runner.optim_wrapper.items():
            wrapper.initialize_count_status(runner.model.tasks[name], runner.iter, runner.max_iters)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        runner.model.check_finite()
        checkpoint['bank'] = {'failed': runner.model.failed, 'seconds': runner.model.seconds}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        runner.model.failed.update(checkpoint['bank']['failed'])
        runner.model.seconds.update(checkpoint['bank']['seconds'])
