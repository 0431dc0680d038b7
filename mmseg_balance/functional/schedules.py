"""Schedules: numbers that depend on the step of a run and on nothing else.

Conventions:
    Schedule: a pure function ``step -> float``. Step 0 is the first iteration of a run of
        ``num_steps``, step ``num_steps - 1`` its last. Nothing is remembered between calls:
        resume is exact.
    Positions, edges and values: as in :mod:`mmseg_balance.functional.transitions`.

Reference:
    Taubert, Götz, Schug, Streit: Loss Scheduling for Class-Imbalanced Image Segmentation
    Problems, 2021; section 6 names more than two losses and elaborate schedules as an outlook.
"""

import inspect
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from mmseg_balance.functional.transitions import (
    Schedule,
    alternating,
    cosine,
    finite,
    linear,
    naive,
    oscillating,
    position,
)

__all__ = [
    'SCHEDULES',
    'Schedule',
    'alternating',
    'build_schedule',
    'build_schedules',
    'complement_of',
    'constant',
    'cosine',
    'linear',
    'naive',
    'oscillating',
    'piecewise',
]


def constant(num_steps: float, *, value: float = 1.0) -> Schedule:
    """The same value at every step.

    Example:
        >>> constant(100, value=0.4)(57)
        0.4
    """
    value = finite('value', value)
    return lambda step: value


def piecewise(
    num_steps: float, *, boundaries: Sequence[float], schedules: Sequence[Mapping]
) -> Schedule:
    """Join schedules: each rules from its boundary on until the next.

    Every piece is a schedule of its own: its step 0 is the piece's first iteration, and its
    fractions are fractions of the piece, so that ``dict(type='linear')`` fills whatever piece
    it stands in. Pieces may themselves be piecewise.

    Args:
        num_steps: length of the run in iterations.
        boundaries: increasing positions inside the run, one fewer than ``schedules``.
        schedules: configs as :func:`build_schedule` takes them.

    Raises:
        ValueError: boundaries that do not increase or lie outside the run, another number of
            schedules than of pieces, or an error in a piece.

    Example:
        >>> up = dict(type='linear')
        >>> hold = dict(type='constant', value=0.25)
        >>> weight = piecewise(100, boundaries=[0.5], schedules=[up, hold])
        >>> [weight(step) for step in (0, 25, 49, 50, 99)]
        [0.0, 0.5, 0.98, 0.25, 0.25]
    """
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(
            f'boundaries={list(boundaries)!r} cut the run into '
            f'{len(boundaries) + 1} pieces, but there are {len(schedules)} schedules.'
        )
    edges = [position('boundaries', boundary, num_steps) for boundary in boundaries]
    limits = [0, *edges, num_steps]
    lengths = [after - before for before, after in pairwise(limits)]
    if min(lengths) <= 0:
        raise ValueError(
            f'boundaries={list(boundaries)!r} must increase and lie inside the run: '
            f'of {num_steps} steps they make pieces of {lengths}.'
        )
    pieces = [build_schedule(spec, length) for spec, length in zip(schedules, lengths, strict=True)]

    def schedule(step: float) -> float:
        index = bisect_right(edges, step)
        return pieces[index](step - limits[index])

    return schedule


def complement_of(*schedules: Schedule, total: float = 1.0) -> Schedule:
    """What ``schedules`` together leave of ``total``: the weight of the last loss of a set.

    Example:
        >>> w_dice = complement_of(naive(1000))
        >>> [w_dice(step) for step in (300, 600, 900)]
        [1.0, 0.5, 0.0]
    """
    total = finite('total', total)
    return lambda step: total - sum(schedule(step) for schedule in schedules)


# Serves dispatch, error texts and docs alike: a new schedule is a function and its line here.
SCHEDULES: dict[str, Callable[..., Schedule]] = {
    function.__name__: function
    for function in (constant, linear, cosine, naive, alternating, oscillating, piecewise)
}


def build_schedule(spec: Mapping, num_steps: float) -> Schedule:
    """Make a schedule from ``dict(type=…, **arguments)``, validated once and for all.

    Args:
        spec: the type, one of ``SCHEDULES``, and the arguments of that function.
        num_steps: length of the run in iterations, above 0.

    Raises:
        TypeError: ``spec`` is no dict, or a position or value is no number.
        ValueError: unknown type or argument, positions out of order, and whatever else the
            schedule refuses.

    Example:
        >>> build_schedule(dict(type='naive', start=0.5, end=0.75), 100)(65)
        0.6
    """
    if not isinstance(spec, Mapping):
        raise TypeError(f"{spec!r} is no schedule: give a dict such as dict(type='linear').")
    if finite('num_steps', num_steps) <= 0:
        raise ValueError(f'num_steps={num_steps!r}: a run must be longer than 0 iterations.')
    arguments = dict(spec)
    kind = arguments.pop('type', None)
    if 'complement_of' in arguments:
        raise ValueError(
            'complement_of cannot stand inside a piecewise schedule: make the other '
            'loss piecewise and take the complement of the whole.'
        )
    if kind not in SCHEDULES:
        raise ValueError(f'type={kind!r} is no schedule: use one of {", ".join(SCHEDULES)}.')
    signature = inspect.signature(SCHEDULES[kind])
    try:
        signature.bind(num_steps, **arguments)
    except TypeError as error:
        known = ', '.join(list(signature.parameters)[1:])
        raise ValueError(f'{kind!r}: {error}; it takes {known}.') from None
    return SCHEDULES[kind](num_steps, **arguments)


def build_schedules(specs: Mapping[str, Mapping], num_steps: float) -> dict[str, Schedule]:
    """Make schedules that may refer to each other by ``dict(complement_of=name, total=1.0)``.

    Args:
        specs: name → config as :func:`build_schedule` takes it, or a complement; of several
            schedules with a list of names.
        num_steps: length of the run in iterations.

    Raises:
        TypeError, ValueError: as :func:`build_schedule`, naming the schedule; a complement of a
            name that is not in ``specs`` or, by however many steps, of itself.

    Example:
        >>> specs = dict(loss_ce=dict(type='naive'), loss_dice=dict(complement_of='loss_ce'))
        >>> weights = build_schedules(specs, 1000)
        >>> weights['loss_ce'](750), weights['loss_dice'](750)
        (0.75, 0.25)
    """
    return {name: _build_named(name, specs, num_steps, ()) for name in specs}


def _build_named(name: str, specs: Mapping, num_steps: float, path: tuple[str, ...]) -> Schedule:
    spec = specs[name]
    if name in path:
        circle = ' -> '.join((*path, name))
        raise ValueError(f'complement_of is circular: {circle}; give one of them a type.')
    if not (isinstance(spec, Mapping) and 'complement_of' in spec):
        try:
            return build_schedule(spec, num_steps)
        except (TypeError, ValueError) as error:
            raise type(error)(f'Schedule of {name!r}: {error}') from error
    surplus = sorted(set(spec) - {'complement_of', 'total'})
    if surplus:
        raise ValueError(
            f'Schedule of {name!r}: complement_of takes only total beside it, not {", ".join(surplus)}.'
        )
    others = spec['complement_of']
    others = others if isinstance(others, (list, tuple)) else [others]
    for other in others:
        if other not in specs:
            raise ValueError(
                f'Schedule of {name!r}: complement_of={other!r} has no schedule; '
                f'those that have one are {", ".join(map(repr, specs))}.'
            )
    parts = [_build_named(other, specs, num_steps, (*path, name)) for other in others]
    return complement_of(*parts, total=spec.get('total', 1.0))
