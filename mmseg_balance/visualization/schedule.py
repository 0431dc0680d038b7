"""Draws the weights of the losses over the run (Taubert et al., figure 4)."""

import argparse
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.config import Config

from mmseg_balance.functional.schedules import Schedule, build_schedules
from mmseg_balance.overrides import add_cfg_options
from mmseg_balance.runtime.config_files import override, read_config, type_name
from mmseg_balance.visualization.style import COLORS, new_figure, plain_axes, save_figure

STEPS_OF_FRACTIONS = 1000
POSITIONS = ('start', 'end', 'boundaries', 'period')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mmseg-balance plot schedule``."""
    parser.add_argument('config', help='config with a LossScheduleHook')
    parser.add_argument('--out', default='schedule.png', help='picture to write')
    parser.add_argument(
        '--iterations', type=int, help='length of the run; by default that of the config'
    )
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Draw the schedules of one config into a file."""
    config = read_config(args.config)
    override(config, args.cfg_options)
    num_steps, length = length_of(config, args.iterations)
    save_figure(schedule_figure(schedules_of(config, num_steps), num_steps, length), args.out)


def schedules_of(config: Config, num_steps: int) -> dict[str, Schedule]:
    """The schedules of all LossScheduleHooks in a config, by the name of what they move.

    Raises:
        ValueError: the config has no such hook, or a schedule is not well formed.
    """
    hooks = _hooks_of(config)
    if not hooks:
        raise ValueError(f'{config.filename}: custom_hooks has no LossScheduleHook to draw.')
    schedules = {}
    for hook in hooks:
        heads = hook.get('heads')
        heads = [heads] if isinstance(heads, str) else heads
        scope = f'{", ".join(heads)}: ' if heads and len(hooks) > 1 else ''
        for key, schedule in build_schedules(hook['schedules'], num_steps).items():
            schedules[scope + key] = schedule
    return schedules


def length_of(config: Config, iterations: int | None = None) -> tuple[int, str]:
    """The steps to draw and the length of the run in words.

    Epochs have a length that only the data set knows; it does not matter to a picture over the
    fraction of the run as long as all positions are fractions.

    Raises:
        ValueError: a run in epochs with positions in iterations.
    """
    loop = config.get('train_cfg', {})
    iterations = iterations or loop.get('max_iters')
    if iterations is not None:
        return iterations, f'{iterations} iterations'
    if any(_counts_iterations(hook['schedules']) for hook in _hooks_of(config)):
        raise ValueError(
            f'{config.filename}: positions are iterations and train_cfg has no '
            'max_iters; give --iterations, which is epochs × batches per epoch.'
        )
    epochs = loop.get('max_epochs')
    return STEPS_OF_FRACTIONS, f'{epochs} epochs' if epochs else 'of any length'


def schedule_figure(
    schedules: Mapping[str, Schedule], num_steps: int, length: str | None = None
) -> Figure:
    """Weights above, other numbers (names with a dot, such as ``loss_focal.gamma``) below.

    Args:
        schedules: name → function of the iteration.
        num_steps: length of the run in iterations.
        length: what to call that, such as '30 epochs'.
    """
    weights = {name: schedule for name, schedule in schedules.items() if '.' not in _key(name)}
    others = {name: schedule for name, schedule in schedules.items() if name not in weights}
    panels = [
        (label, group)
        for label, group in (('weight relative to the configured one', weights), ('value', others))
        if group
    ]
    figure = new_figure(6, 3.2 * len(panels))
    axes = figure.subplots(len(panels), squeeze=False, sharex=True)
    for axis, (label, group) in zip(axes[:, 0], panels, strict=True):
        _draw(axis, group, num_steps)
        axis.set_ylabel(label)
        plain_axes(axis)
    length = length or f'{num_steps} iterations'
    axes[-1, 0].set_xlabel(f'fraction of the run ({length})', size=9)
    return figure


def _draw(axis: Axes, schedules: Mapping[str, Schedule], num_steps: int) -> None:
    steps = range(num_steps + 1)
    for number, (name, schedule) in enumerate(schedules.items()):
        # Dashes that start elsewhere keep curves that lie on each other apart.
        axis.plot(
            [step / num_steps for step in steps],
            [schedule(step) for step in steps],
            label=name,
            color=COLORS[number % len(COLORS)],
            linestyle='-' if number == 0 else (2 * number, (5, 3)),
        )
    axis.set_xlim(0, 1)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc='lower center', ncols=3, bbox_to_anchor=(0.5, 1))


def _hooks_of(config: Config) -> list[Mapping]:
    hooks = [*(config.get('custom_hooks') or []), *config.get('default_hooks', {}).values()]
    return [hook for hook in hooks if hook and type_name(hook) == 'LossScheduleHook']


def _counts_iterations(spec: object, key: str = '') -> bool:
    """Whether a position anywhere in a schedule is an iteration, a number above 1."""
    if isinstance(spec, Mapping):
        return any(_counts_iterations(value, name) for name, value in spec.items())
    if isinstance(spec, (list, tuple)):
        return any(_counts_iterations(value, key) for value in spec)
    return key in POSITIONS and isinstance(spec, (int, float)) and spec > 1


def _key(name: str) -> str:
    """``loss_x.gamma`` without the heads that may stand before it."""
    return name.rpartition(': ')[2]
