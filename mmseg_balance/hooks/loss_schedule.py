"""Moves the weights of losses, and other numbers of theirs, over a run."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from torch import Tensor, nn

from mmseg_balance.functional.logits import PairedLogits, UpsampledLogits, wide_dtype
from mmseg_balance.functional.schedules import build_schedules
from mmseg_balance.runtime.models import unwrapped


class _ZeroWithoutGradient(torch.autograd.Function):
    """A zero that hangs in the graph and sends nothing back through it.

    The zero keeps every branch of a head in the graph, so that ``DistributedDataParallel`` sees
    no unused parameter and a model without any other loss can still call ``backward``. Unlike
    ``logits.sum() * 0`` it reads no logit, cannot become NaN, and costs no backward pass.
    """

    @staticmethod
    def forward(ctx, template: Tensor, *inputs: Tensor) -> Tensor:
        return template.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, ...]:
        return (None,) * len(ctx.needs_input_grad)


def zero_loss(*args, reduction_override: str | None = None, **kwargs) -> Tensor:
    """Stand in for the ``forward`` of a loss whose weight is 0.

    A function of the module's top level, hence a model that holds it can be copied and pickled.

    Returns:
        A float32 zero (float64 for such logits), with ``reduction_override='none'`` one per
        pixel; it belongs to the graph of the predictions but gives them no gradient.
    """
    given = [*args, *kwargs.values()]
    shape = given[0].shape[:1] + given[0].shape[2:] if reduction_override == 'none' else ()
    given = [value.logits if isinstance(value, PairedLogits) else value for value in given]
    given = [value.low if isinstance(value, UpsampledLogits) else value for value in given]
    inputs = [value for value in given if torch.is_tensor(value) and value.is_floating_point()]
    zero = inputs[0].new_zeros(shape, dtype=wide_dtype(inputs[0]))
    return _ZeroWithoutGradient.apply(zero, *inputs)


class _Attribute:
    """A number of a loss module: the schedule's value is its value."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name
        self.configured = getattr(module, name)

    @property
    def place(self) -> tuple[int, str]:
        return id(self.module), self.name

    def set(self, value: float) -> None:
        setattr(self.module, self.name, value)

    def restore(self) -> None:
        setattr(self.module, self.name, self.configured)


class _Weight(_Attribute):
    """The weight of a loss module: its configured weight times the schedule's value."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, 'loss_weight')
        self.own_forward = vars(module).get('forward')

    def set(self, value: float) -> None:
        weight = self.configured * value
        super().set(weight)
        self._set_forward(self.own_forward if weight != 0 else zero_loss)

    def restore(self) -> None:
        super().restore()
        self._set_forward(self.own_forward)

    def _set_forward(self, forward: Callable | None) -> None:
        # An entry in the instance's __dict__ goes before the method of its class; state_dict,
        # hooks and the place in the model stay as they are.
        if forward is None:
            vars(self.module).pop('forward', None)
        else:
            self.module.forward = forward


@HOOKS.register_module()
class LossScheduleHook(Hook):
    r"""Move the weight of any loss in the model over the run, stock losses included.

    At iteration :math:`i` a loss weighs its configured ``loss_weight`` times
    :math:`\text{schedule}(i)`. The value depends on ``runner.iter`` alone: nothing adds up,
    schedules cannot drift apart, and resume is exact.

    Convention:
        Key ``'loss_x'``: the weight of every loss of that name in the chosen heads. At weight 0
        the loss is not computed; its log entry is 0.
        Key ``'loss_x.attribute'``: a number of the loss, such as ``gamma``; the schedule gives
        the number itself, not a factor. Dots lead into nested modules
        (``'loss_lmp.pixel_loss.gamma'``).
        Losses inside a loss belong to the outer one: only the outer one is found by its name.
        Log: ``weight/x`` is the schedule's value, the factor of the configured weight;
        ``x/attribute`` the number set. No name contains 'loss', which MMEngine would average.
        After training everything is as it was configured.

    Args:
        schedules: key → ``dict(type='linear' | 'cosine' | 'constant' | 'naive' | 'alternating' |
            'oscillating' | 'piecewise', …)`` or ``dict(complement_of=key)``, see
            :mod:`mmseg_balance.functional.schedules`.
        heads: names of the heads to touch, such as ``['decode_head', 'auxiliary_head.0']``;
            ``'decode_head'`` includes every stage of a cascade. ``None``: the whole model.

    Raises:
        ValueError: before the first iteration, for a schedule that is not well formed, a loss,
            attribute or head that the model lacks, or two hooks that move the same number.

    Example:
        >>> custom_hooks = [dict(type='LossScheduleHook', schedules=dict(
        ...     loss_ce=dict(type='naive', start=0.3, end=0.9),
        ...     loss_dice=dict(complement_of='loss_ce')))]

    Reference:
        Taubert et al., Loss Scheduling for Class-Imbalanced Image Segmentation Problems, 2021.
    """

    # Before hooks that prepare something long: a mistake in the config shows at once.
    priority = 'HIGH'

    def __init__(
        self, schedules: Mapping[str, Mapping], heads: str | Sequence[str] | None = None
    ) -> None:
        if not isinstance(schedules, Mapping) or not schedules:
            raise ValueError(
                f'schedules={schedules!r} must be a dict with at least one entry such '
                "as loss_dice=dict(type='linear', initial=1, final=0)."
            )
        self.schedules = schedules
        self.heads = [heads] if isinstance(heads, str) else heads
        self._running = {}

    def before_train(self, runner) -> None:
        """Build the schedules and find what they move, or say what is wrong."""
        self.after_train(runner)  # a run that broke off has not put its numbers back
        built = build_schedules(self.schedules, runner.max_iters)
        losses = _losses_of_heads(runner.model, self.heads)
        self._running = {
            key: (schedule, _find_targets(key, losses)) for key, schedule in built.items()
        }
        self._check_conflicts(runner)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Set every number to its value at this iteration and hand the values to the log."""
        for key, (schedule, targets) in self._running.items():
            value = schedule(runner.iter)
            for target in targets:
                target.set(value)
            runner.message_hub.update_scalar(f'train/{self._log_name(runner, key)}', value)

    def after_train(self, runner) -> None:
        """Put the configured numbers back."""
        for _, targets in self._running.values():
            for target in targets:
                target.restore()
        self._running = {}

    def _others(self, runner) -> list['LossScheduleHook']:
        return [
            hook for hook in runner.hooks if isinstance(hook, LossScheduleHook) and hook is not self
        ]

    def _check_conflicts(self, runner) -> None:
        for other in self._others(runner):
            taken = {target.place for _, targets in other._running.values() for target in targets}
            for key, (_, targets) in self._running.items():
                if any(target.place in taken for target in targets):
                    raise ValueError(
                        f'Two LossScheduleHooks move {key!r} of the same loss: keep '
                        'one of them, or give them different heads.'
                    )

    def _log_name(self, runner, key: str) -> str:
        """``weight/dice``, with the heads in between if another hook logs that name too."""
        shared = any(key in other.schedules for other in self._others(runner))
        scope = '+'.join(self.heads) + '/' if shared and self.heads else ''
        loss_name, _, attribute = key.partition('.')
        if attribute:
            return scope + f'{_without_loss(loss_name)}/{_without_loss(attribute)}'
        return f'weight/{scope}{_without_loss(loss_name)}'


def _without_loss(path: str) -> str:
    """``soft_dice`` for ``loss_soft_dice``, ``pixel.gamma`` for ``pixel_loss.gamma``."""
    names = [re.split('_*loss_*', name) for name in path.split('.')]
    return '.'.join('_'.join(filter(None, parts)) or 'all' for parts in names)


def _losses_of_heads(model: nn.Module, heads: Sequence[str] | None) -> list[tuple[str, nn.Module]]:
    """(head, loss module) pairs of a model that may be wrapped for several devices."""
    found = [(_head_of(path), loss) for path, loss in _named_losses(unwrapped(model))]
    if heads is None:
        return found
    for head in heads:
        if not any(_is_within(name, head) for name, _ in found):
            known = ', '.join(sorted({repr(name) for name, _ in found})) or 'none'
            raise ValueError(
                f'heads: the model has no head {head!r} with a loss; those that have one are {known}.'
            )
    return [(name, loss) for name, loss in found if any(_is_within(name, head) for head in heads)]


def _named_losses(module: nn.Module, path: str = '') -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules with a ``loss_name``: what is inside a loss belongs to it."""
    if isinstance(getattr(module, 'loss_name', None), str):
        yield path, module
        return
    for name, child in module.named_children():
        yield from _named_losses(child, f'{path}.{name}' if path else name)


def _head_of(path: str) -> str:
    """``decode_head.1`` for the loss at ``decode_head.1.loss_decode.0``."""
    return re.sub(r'\.?[^.]+(\.\d+)*$', '', path)


def _is_within(path: str, head: str) -> bool:
    return path == head or path.startswith(f'{head}.')


def _find_targets(key: str, losses: Sequence[tuple[str, nn.Module]]) -> list:
    name, _, attribute = key.partition('.')
    if attribute == 'loss_weight':
        raise ValueError(f'schedules: write {name!r} in place of {key!r} to move the weight.')
    named = [(head, loss) for head, loss in losses if loss.loss_name == name]
    if not named:
        places = {}
        for head, loss in losses:
            places.setdefault(loss.loss_name, []).append(head)
        known = (
            ', '.join(
                f'{other!r} ({", ".join(dict.fromkeys(heads))})' for other, heads in places.items()
            )
            or 'no loss at all'
        )
        raise ValueError(f'schedules: no loss is named {name!r}; the model has {known}.')
    owners = [_owner_of(key, attribute or 'loss_weight', loss) for _, loss in named]
    if attribute:
        return [_Attribute(owner, attribute.rpartition('.')[2]) for owner in owners]
    return [_Weight(owner) for owner in owners]


def _owner_of(key: str, attribute: str, loss: nn.Module) -> nn.Module:
    """The module, the loss or one inside it, that has the number to move."""
    path, _, name = attribute.rpartition('.')
    owner = dict(loss.named_modules()).get(path)
    if owner is None or not _is_number(getattr(owner, name, None)):
        known = [
            f'{prefix}.{other}' if prefix else other
            for prefix, module in loss.named_modules()
            for other, value in vars(module).items()
            if not other.startswith('_') and _is_number(value)
        ]
        raise ValueError(
            f'schedules: {key!r} asks for a number {attribute!r} that '
            f'{type(loss).__name__} does not have; it has '
            f'{", ".join(known) or "none"}.'
        )
    return owner


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
