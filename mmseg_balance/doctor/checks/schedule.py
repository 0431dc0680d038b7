"""Schedules and intervals against the length of the run, and the learning rate."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, error, not_built, warning
from mmseg_balance.doctor.reading import NotReadError, Reading, named_batch
from mmseg_balance.experiments.progress import number_of
from mmseg_balance.functional.schedules import build_schedules

OTHER_RATE = 2.0
MOST_CHECKPOINTS = 100  # of a training
TIMES = ('begin', 'end', 'T_max', 'step_size', 'milestones', 'periods', 'total_steps')
WRAPPERS = ('', 'OptimWrapper', 'AmpOptimWrapper')
OF_HALF_PRECISION = ('loss_scale', 'dtype', 'use_fsdp')
ANY_LENGTH = 1000  # of a run whose length is not known: the form is looked at all the same


def scheduler_length(reading: Reading) -> Iterator[Finding]:
    """The learning rate schedule ends after the training, or long before."""
    total = view.max_iters(reading.config)
    if not total:
        return
    schedulers = [
        (key, one)
        for key, one in view.schedulers_of(reading.config)
        if not one.get('by_epoch', True)
    ]
    ends = [one.get('end') or total for _, one in schedulers]
    for key, one in schedulers:
        begin, end = one.get('begin') or 0, one.get('end')
        if begin >= total:
            yield warning(
                f'{key}.begin',
                f'{begin}: after the last of {total} iterations, so it never acts',
                'give a begin and an end within the training, or leave this schedule out',
            )
        elif end and end > total and _is_warm_up(one):
            yield warning(
                f'{key}.end',
                f'{end}, and the training ends at {total}: the learning rate never gets as high as '
                'it is set',
                'give a warm-up that ends within the training',
            )
        elif end and end > total:
            yield warning(
                f'{key}.end',
                f'{end}, and the training ends at {total}: the learning rate stops at '
                f'{total / end:.0%} of its schedule and is never small',
                fix=_ends_at(total, key, one),
            )
        elif end and end == max(ends) and end < total / 2 and 'eta_min' in one:
            yield warning(
                f'{key}.end',
                f'{end}, and the training goes on to {total} at the lowest learning rate',
                fix=_ends_at(total, key, one),
            )


def _ends_at(total: int, key: str, scheduler: Mapping) -> dict:
    """The change that ends a schedule with the training; a cosine has its length apart."""
    fix = {f'{key}.end': total}
    if scheduler.get('T_max'):
        fix[f'{key}.T_max'] = total - (scheduler.get('begin') or 0)
    return fix


def _is_warm_up(scheduler: Mapping) -> bool:
    """Whether it starts below the learning rate that is set, and ends there."""
    kind = view.type_name(scheduler)
    rises = scheduler.get('start_factor', 1 / 3) < scheduler.get('end_factor', 1.0)
    return kind == 'ConstantLR' or (kind == 'LinearLR' and rises)


def optimizer_builds(reading: Reading) -> Iterator[Finding]:
    """The optimizer, or a schedule of its learning rate, cannot be built."""
    wrapper = reading.config.get('optim_wrapper')
    if not wrapper or view.type_name(wrapper) not in WRAPPERS:
        return
    content = {k: v for k, v in wrapper.items() if k not in OF_HALF_PRECISION}
    content['type'] = 'OptimWrapper'  # those of half precision ask for a GPU
    module = reading.model.module
    built, problem = _tried(lambda: build_optim_wrapper(module, deepcopy(content)))
    problems = {'optim_wrapper': problem}
    if hasattr(built, 'optimizer'):
        for key, one in view.schedulers_of(reading.config):
            kept = {k: v for k, v in one.items() if k != 'convert_to_iter_based'}
            kept['optimizer'] = built.optimizer
            problems[key] = _tried(lambda kept=kept: PARAM_SCHEDULERS.build(kept))[1]
    yield from (not_built(key, problem) for key, problem in problems.items() if problem is not None)


def _tried(build: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What is built, or what was raised instead."""
    try:
        with _silence():
            return build(), None
    except Exception as problem:  # constructors raise whatever they like
        return None, problem


@contextmanager
def _silence() -> Iterator[None]:
    """No line for every parameter that has a learning rate of its own, or none."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)


def scheduler_by_epoch(reading: Reading) -> Iterator[Finding]:
    """A schedule in epochs in a training of iterations."""
    total = view.max_iters(reading.config)
    if not total:
        return
    schedulers = [
        (key, one)
        for key, one in view.schedulers_of(reading.config)
        if one.get('by_epoch', True) and 'type' in one and not one.get('convert_to_iter_based')
    ]
    # Numbers of iterations that lack by_epoch=False alone reach into the second half of the run.
    times = [value for _, one in schedulers for value in _numbers(one, TIMES)]
    are_iterations = any(value >= total / 2 for value in times)
    for key, one in schedulers:
        yield error(
            f'{key}.by_epoch',
            f'{view.type_name(one)} counts epochs (by_epoch=True is the default) and the '
            'training has iterations only: the learning rate never changes',
            ''
            if are_iterations
            else 'set by_epoch=False, and begin, end and the like in iterations',
            fix={f'{key}.by_epoch': False} if are_iterations else None,
        )


def _numbers(part: Mapping, arguments: Iterable[str]) -> list[float]:
    """The numbers among some arguments and in their lists."""
    values = [value for argument in arguments for value in view.listed(part.get(argument))]
    return [value for value in values if isinstance(value, (int, float))]


def intervals(reading: Reading) -> Iterator[Finding]:
    """No validation or no checkpoint within the run."""
    total = view.max_iters(reading.config)
    loop = reading.config.get('train_cfg') or {}
    interval = loop.get('val_interval')
    if total and reading.config.get('val_dataloader') and interval and interval > total:
        yield warning(
            'train_cfg.val_interval',
            f'{interval}, and the training has {total} iterations: it is never validated',
            fix={'train_cfg.val_interval': total},
        )
    checkpoint = (reading.config.get('default_hooks') or {}).get('checkpoint') or {}
    if total and checkpoint and checkpoint.get('by_epoch', True) and 'interval' in checkpoint:
        # A number of epochs, taken for iterations, would fill the disk.
        interval = _numbers(checkpoint, ['interval'])
        is_iterations = any(value >= total / MOST_CHECKPOINTS for value in interval)
        yield warning(
            'default_hooks.checkpoint.by_epoch',
            'True (its default), and the training has iterations only: no checkpoint before the '
            'end, all is lost if the run stops',
            ''
            if is_iterations
            else f'set by_epoch=False, and interval, which is {checkpoint["interval"]}, in iterations',
            fix={'default_hooks.checkpoint.by_epoch': False} if is_iterations else None,
        )


def loss_schedule(reading: Reading) -> Iterator[Finding]:
    """A loss schedule is not well formed, or names a loss that no head has."""
    total = _known_iterations(reading)
    names = {loss.name for head in reading.heads for loss in head.losses} - {None}
    for key, hook in view.hooks_of(reading.config):
        if view.type_name(hook) != 'LossScheduleHook':
            continue
        schedules = hook.get('schedules')
        if not isinstance(schedules, Mapping):
            continue
        try:
            build_schedules(schedules, total or ANY_LENGTH)
        except (ValueError, TypeError) as problem:
            yield error(
                f'{key}.schedules',
                str(problem),
                "help('mmseg_balance.functional.schedules') has every form",
            )
            continue
        unknown = [name for name in schedules if name.partition('.')[0] not in names]
        if unknown and names:
            yield error(
                f'{key}.schedules',
                f'no loss is named {unknown[0]!r}; the heads have {", ".join(sorted(names))}',
                'name the losses by their loss_name',
            )
        if total:
            yield from _late_boundaries(key, schedules, total)


def _known_iterations(reading: Reading) -> int | None:
    try:
        return reading.iterations
    except NotReadError:  # an epoch is as long as the training set
        return None


def _late_boundaries(key: str, schedules: Mapping, total: int) -> Iterator[Finding]:
    for name, spec in schedules.items():
        times = _numbers(spec, ('boundaries', 'start', 'end', 'period'))
        late = [value for value in times if value > total]
        if late:
            yield warning(
                f'{key}.schedules.{name}',
                f'{late[0]} is beyond the last of {total} iterations: that part never comes',
                'give shares of the run (0 to 1), or iterations within it',
            )


def learning_rate(reading: Reading) -> Iterator[Finding]:
    """The batch is not the one that the base config's learning rate is for."""
    config = reading.config
    if (config.get('auto_scale_lr') or {}).get('enable'):
        return
    if named_batch(config.filename) == (reading.gpus, reading.batch_size):
        return  # a recipe made for this batch
    for base in base_files(config.filename):
        named = named_batch(base)
        if not named:
            continue
        gpus, images = named
        before, now = gpus * images, reading.gpus * reading.batch_size
        rate, theirs = _rate(config), _rate(Config.fromfile(base, import_custom_modules=False))
        factor = now / before
        if rate and rate == theirs and max(factor, 1 / factor) >= OTHER_RATE:
            kind = view.type_name((config.get('optim_wrapper') or {}).get('optimizer') or {})
            scaled = rate * (factor if kind == 'SGD' else factor**0.5)
            rule = 'in proportion' if kind == 'SGD' else 'with the square root, as usual for Adam'
            yield warning(
                'optim_wrapper.optimizer.lr',
                f'{rate:g} is for {number_of(gpus, "GPU")} with {number_of(images, "image")} each '
                f'({Path(base).name}); '
                f'this is {reading.gpus} with {reading.batch_size} (--gpus), {factor:g} times the '
                'batch',
                f'scaled {rule}:\noptim_wrapper = dict(optimizer=dict(lr={scaled:.3g}))',
            )
        return


def _rate(config: Config) -> float | None:
    wrapper = config.get('optim_wrapper') or {}
    return (wrapper.get('optimizer') or {}).get('lr')


def base_files(filename: str | None) -> Iterator[str]:
    """The files that a config inherits, nearest first."""
    if not filename or not Path(filename).is_file():
        return
    for base in Config._get_base_files(filename):
        base = str(base)
        if '::' in base:
            base, _ = Config._get_cfg_path(base, filename)
        else:
            base = str((Path(filename).parent / base).resolve())
        yield base
        yield from base_files(base)
