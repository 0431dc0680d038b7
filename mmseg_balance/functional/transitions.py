"""Schedules that lead from one value to another, between a ``start`` and an ``end``.

Conventions:
    Position (``start``, ``end``, ``period``, and ``boundaries`` of a piecewise schedule): a number
        from 0 to 1 is a fraction of the run's ``num_steps`` (1 is the end of the run, also when
        written as an int); a whole number above 1 is an iteration.
    Edges: up to ``start`` the value is *exactly* the one that the schedule begins with, from
        ``end`` on *exactly* the one it ends with: no rounding, for a weight of 0 is a promise
        that nothing is computed. ``start == end`` is a jump.
    Values: any finite numbers, in either direction.

Reference:
    Taubert, Götz, Schug, Streit: Loss Scheduling for Class-Imbalanced Image Segmentation
    Problems, 2021; equations 5 (``naive``) and 6 (``alternating``).
"""

import math
from collections.abc import Callable
from numbers import Real

__all__ = ['Schedule', 'alternating', 'cosine', 'linear', 'naive', 'oscillating']

Schedule = Callable[[float], float]


def linear(
    num_steps: float,
    *,
    start: float = 0.0,
    end: float = 1.0,
    initial: float = 0.0,
    final: float = 1.0,
) -> Schedule:
    """A straight line from ``initial`` at ``start`` to ``final`` at ``end``.

    Args:
        num_steps: length of the run in iterations.
        start, end: positions, see the conventions above.
        initial, final: the values up to ``start`` and from ``end`` on.

    Raises:
        ValueError: a position outside the run's scale, ``end`` before ``start``, a value that
            is not finite.

    Example:
        >>> gamma = linear(100, start=0.5, end=100, initial=2.0, final=0.0)
        >>> [gamma(step) for step in (0, 50, 75, 100)]
        [2.0, 2.0, 1.0, 0.0]
    """
    return _transition(num_steps, start, end, initial, final, lambda t: t)


def cosine(
    num_steps: float,
    *,
    start: float = 0.0,
    end: float = 1.0,
    initial: float = 0.0,
    final: float = 1.0,
) -> Schedule:
    r"""Half a cosine wave, flat at both ends: :math:`(1 - \cos \pi t) / 2` of the way.

    Args and Raises: as :func:`linear`; :math:`t` runs from 0 at ``start`` to 1 at ``end``.

    Example:
        >>> round(cosine(100)(25), 4)
        0.1464
    """
    return _transition(
        num_steps, start, end, initial, final, lambda t: (1 - math.cos(math.pi * t)) / 2
    )


def naive(
    num_steps: float,
    *,
    start: float = 0.3,
    end: float = 0.9,
    initial: float = 0.0,
    final: float = 1.0,
) -> Schedule:
    r"""Taubert's naïve schedule, :func:`linear` with the paper's positions.

    .. math:: w(i) = \max(0, \min(1, (i - s) / (e - s)))

    It is the weight of the loss that one ends with (cross entropy in the paper); the other
    loss takes its complement.

    Example:
        >>> w_ce = naive(1000)
        >>> [w_ce(step) for step in (300, 600, 900)]
        [0.0, 0.5, 1.0]

    Reference:
        Taubert et al., equation 5; section 5 for 30 % and 90 %.
    """
    return linear(num_steps, start=start, end=end, initial=initial, final=final)


def alternating(
    num_steps: float,
    *,
    start: float = 0.5,
    end: float = 0.9,
    initial: float = 1.0,
    middle: float = 0.0,
    final: float = 1.0,
) -> Schedule:
    r"""Taubert's alternating schedule: down in a straight line, back up along a sinusoid.

    .. math::
        w(i) = \min(1, \max(0, 1 - i/s))
               + 1 - \cos(\min(\pi/2, \max(0, \pi (i - s) / (2 (e - s)))))

    With the defaults the loss one ends with (cross entropy) has weight 1 at step 0, 0 at
    ``start`` and 1 again from ``end`` on.

    Args:
        num_steps: length of the run in iterations.
        start, end: beginning and end of the sinusoid; the line before it spans ``0 … start``.
        initial, middle, final: the values at step 0, at ``start`` and from ``end`` on.

    Raises:
        ValueError: as :func:`linear`.

    Example:
        >>> w_ce = alternating(1000)
        >>> [round(w_ce(step), 4) for step in (0, 250, 500, 700, 900)]
        [1.0, 0.5, 0.0, 0.2929, 1.0]

    Reference:
        Taubert et al., equation 6; section 5 for 50 % and 90 %.
    """
    turn, _ = _window(num_steps, start, end)
    down = linear(num_steps, start=0, end=start, initial=initial, final=middle)
    up = _transition(num_steps, start, end, middle, final, lambda t: 1 - math.cos(math.pi / 2 * t))
    return lambda step: up(step) if step >= turn else down(step)


def oscillating(
    num_steps: float,
    *,
    start: float = 0.0,
    end: float = 1.0,
    initial: float = 0.0,
    final: float = 1.0,
    cycles: int | None = None,
    period: float | None = None,
) -> Schedule:
    r"""Swing ``cycles`` times from ``initial`` to ``final`` and back, then end at ``final``.

    The way covered is :math:`(1 - \cos((2k + 1) \pi t)) / 2` for :math:`k` cycles, so both
    ends are met exactly and without a jump; ``cycles=0`` is :func:`cosine`.

    Args:
        num_steps: length of the run in iterations.
        start, end: positions between which it oscillates.
        initial, final: the two values.
        cycles: swings there and back before the last one; 2 if ``period`` is not given either.
        period: in place of ``cycles``, about how long one swing there and back takes (a
            position); it is stretched to the nearest length at which the wave ends at ``final``.

    Raises:
        ValueError: as :func:`linear`; ``cycles`` that are no whole number from 0 up; both
            ``cycles`` and ``period``; a ``period`` of 0.

    Example:
        >>> weight = oscillating(100, cycles=1)
        >>> [round(weight(step * 100 / 3), 4) for step in range(4)]
        [0.0, 1.0, 0.0, 1.0]

    Reference:
        Taubert et al., section 6, name oscillating schedules and leave them open.
    """
    first, last = _window(num_steps, start, end)
    if period is not None:
        if cycles is not None:
            raise ValueError(
                f'cycles={cycles!r} and period={period!r} say the same thing: give one of them.'
            )
        length = position('period', period, num_steps)
        if length == 0:
            raise ValueError(
                'period=0 is no length: give a fraction of the run or iterations above 1.'
            )
        cycles = max(0, round((last - first) / length - 0.5))
    cycles = 2 if cycles is None else cycles
    if isinstance(cycles, bool) or not isinstance(cycles, int) or cycles < 0:
        raise ValueError(f'cycles={cycles!r} must be a whole number from 0 up.')
    return _transition(
        num_steps,
        start,
        end,
        initial,
        final,
        lambda t: (1 - math.cos((2 * cycles + 1) * math.pi * t)) / 2,
    )


def _transition(
    num_steps: float,
    start: float,
    end: float,
    initial: float,
    final: float,
    shape: Callable[[float], float],
) -> Schedule:
    """From ``initial`` to ``final`` along ``shape``, which maps 0…1 to the way covered."""
    first, last = _window(num_steps, start, end)
    initial, final = finite('initial', initial), finite('final', final)

    def schedule(step: float) -> float:
        if step >= last:
            return final
        if step <= first:
            return initial
        return initial + (final - initial) * shape((step - first) / (last - first))

    return schedule


def _window(num_steps: float, start: float, end: float) -> tuple[float, float]:
    first = position('start', start, num_steps)
    last = position('end', end, num_steps)
    if last < first:
        raise ValueError(
            f'end={end!r} (iteration {last:g}) comes before start={start!r} '
            f'(iteration {first:g}): swap them, or initial and final.'
        )
    return first, last


def position(name: str, value: float, num_steps: float) -> float:
    """The iteration that a fraction or an iteration stands for."""
    value = finite(name, value)
    if 0 <= value <= 1:
        step = value * num_steps
        # 0.55 * 100 is 55.000000000000007: it means 55, and the weight must be 0 there.
        return round(step) if math.isclose(step, round(step), rel_tol=1e-12) else step
    if value > 1 and float(value).is_integer():
        return int(value)
    raise ValueError(
        f'{name}={value!r} is no position: give a fraction of the run from 0 to 1 '
        'or a whole number of iterations above 1.'
    )


def finite(name: str, value: float) -> float:
    """The value if it is a finite number, else an error that names the argument.

    Raises:
        TypeError: not a number.
        ValueError: NaN or infinite.

    Example:
        >>> finite('start', 0.5)
        0.5
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f'{name}={value!r} must be a number.')
    if not math.isfinite(value):
        raise ValueError(f'{name}={value!r} must be finite.')
    return value
