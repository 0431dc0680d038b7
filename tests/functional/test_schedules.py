"""Schedules against the equations of the paper, at every step around every edge."""

import math
from itertools import pairwise

import pytest

from mmseg_balance.functional import schedules
from mmseg_balance.functional.schedules import (
    SCHEDULES,
    build_schedule,
    build_schedules,
    complement_of,
)

RUN = 1000


def naive_of_equation_5(i, s, e):
    return max(0, min(1, (i - s) / (e - s)))


def alternating_of_equation_6(i, s, e):
    return (
        min(1, max(0, 1 - i / s))
        + 1
        - math.cos(min(math.pi / 2, max(0, math.pi * (i - s) / (2 * (e - s)))))
    )


@pytest.mark.parametrize(
    ('kind', 'equation', 's', 'e'),
    [
        ('naive', naive_of_equation_5, 300, 900),
        ('alternating', alternating_of_equation_6, 500, 900),
    ],
)
def test_defaults_equal_the_papers_equations_at_every_iteration(kind, equation, s, e):
    schedule = build_schedule(dict(type=kind), RUN)
    worst = max(abs(schedule(i) - equation(i, s, e)) for i in range(RUN + 1))
    assert worst <= 1e-12


@pytest.mark.parametrize('num_steps', [1, 2, 7, 10, 97, 40_000])
@pytest.mark.parametrize(
    ('kind', 'equation', 'start', 'end'),
    [
        ('naive', naive_of_equation_5, 0.3, 0.9),
        ('naive', naive_of_equation_5, 0, 1),
        ('alternating', alternating_of_equation_6, 0.5, 0.9),
        ('alternating', alternating_of_equation_6, 0.05, 0.99),
    ],
)
def test_equations_hold_for_runs_of_any_length(kind, equation, start, end, num_steps):
    schedule = build_schedule(dict(type=kind, start=start, end=end), num_steps)
    for i in range(0, num_steps + 1, max(1, num_steps // 200)):
        expected = equation(i, start * num_steps, end * num_steps)
        assert schedule(i) == pytest.approx(expected, abs=1e-12)


# Every transition: what it is worth a share t of the way from start to end, in units of the way.
SHAPES = {
    'linear': lambda t: t,
    'naive': lambda t: t,
    'cosine': lambda t: 0.5 - 0.5 * math.cos(math.pi * t),
    'oscillating': lambda t: 0.5 - 0.5 * math.cos(5 * math.pi * t),
}
VALUES = [(0, 1), (1, 0), (0.2, 0.7), (-3.0, 2.5), (1, 1), (5, 1e-3)]


@pytest.mark.parametrize(
    'window', [(0.3, 0.9), (300, 900), (0.3, 900), (0, 1), (0, 2), (0.999, 1), (2, 3)]
)
@pytest.mark.parametrize(('initial', 'final'), VALUES)
@pytest.mark.parametrize('kind', SHAPES)
def test_transitions_at_every_step_around_their_edges(kind, initial, final, window):
    start, end = window
    s, e = (x * RUN if x <= 1 else x for x in window)
    schedule = build_schedule(
        dict(type=kind, start=start, end=end, initial=initial, final=final), RUN
    )
    steps = {round(edge) + k for edge in (s, (s + e) / 2, e) for k in range(-3, 4)} | {0, RUN}
    for step in sorted(steps):
        if step <= s:
            assert schedule(step) == initial
        elif step >= e:
            assert schedule(step) == final
        else:
            way = SHAPES[kind]((step - s) / (e - s))
            assert schedule(step) == pytest.approx(initial + (final - initial) * way, abs=1e-12)


@pytest.mark.parametrize(
    ('initial', 'middle', 'final'), [(1, 0, 1), (0, 1, 0), (0.5, 0.1, 2.0), (-1, 3, 4)]
)
def test_alternating_takes_any_three_values(initial, middle, final):
    schedule = build_schedule(
        dict(type='alternating', initial=initial, middle=middle, final=final), RUN
    )
    for step in (0, 1, 2, 250, 498, 499):
        assert schedule(step) == pytest.approx(initial + (middle - initial) * step / 500, abs=1e-12)
    assert schedule(0) == initial
    assert schedule(500) == middle
    for step in (501, 502, 700, 898, 899):
        rise = 1 - math.cos(math.pi / 2 * (step - 500) / 400)
        assert schedule(step) == pytest.approx(middle + (final - middle) * rise, abs=1e-12)
    for step in (900, 901, 1000, 2000):
        assert schedule(step) == final


def test_alternating_that_turns_at_once_has_no_line():
    schedule = build_schedule(dict(type='alternating', start=0, end=10), RUN)
    assert schedule(0) == 0.0
    assert schedule(10) == 1.0


@pytest.mark.parametrize('kind', ['linear', 'cosine', 'naive', 'oscillating', 'alternating'])
def test_a_window_of_no_length_is_a_jump(kind):
    schedule = build_schedule(dict(type=kind, start=0.4, end=400), RUN)
    before = pytest.approx(1 - 399 / 400, abs=1e-12) if kind == 'alternating' else 0.0
    assert schedule(399) == before
    assert schedule(400) == 1.0


@pytest.mark.parametrize('kind', ['naive', 'alternating', 'cosine', 'oscillating'])
@pytest.mark.parametrize('num_steps', [10, 100, 1000, 12_345])
@pytest.mark.parametrize('end', [0.07, 0.29, 0.55, 0.57, 0.9])
def test_the_other_weight_is_exactly_zero_from_the_end_on(kind, num_steps, end):
    # 0.55 * 100 and 1 - cos(pi / 2) round to the wrong side: a weight of 1e-16 would be computed.
    weight = build_schedule(dict(type=kind, start=0.05, end=end), num_steps)
    other = complement_of(weight)
    first = math.ceil(round(end * num_steps, 6))
    assert [other(step) for step in range(first, first + 5)] == [0.0] * 5


def test_oscillating_crosses_as_often_as_it_should_and_ends_without_a_jump():
    schedule = build_schedule(dict(type='oscillating', start=100, end=800, cycles=3), RUN)
    values = [schedule(step) for step in range(RUN + 1)]
    peaks = [100 + 700 * k / 7 for k in range(1, 8)]
    assert [round(schedule(peak), 12) for peak in peaks] == [1, 0, 1, 0, 1, 0, 1]
    assert max(abs(b - a) for a, b in pairwise(values)) < math.pi / 2 / 100
    assert values[:101] == [0.0] * 101
    assert values[800:] == [1.0] * 201


@pytest.mark.parametrize(
    ('period', 'cycles'), [(0.4, 2), (400, 2), (0.41, 2), (2 / 3, 1), (1, 0), (0.1, 10), (2, 500)]
)
def test_period_is_stretched_to_end_at_the_final_value(period, cycles):
    by_period = build_schedule(dict(type='oscillating', period=period), RUN)
    by_cycles = build_schedule(dict(type='oscillating', cycles=cycles), RUN)
    if period == 2:
        cycles = round(RUN / 2 - 0.5)
        by_cycles = build_schedule(dict(type='oscillating', cycles=cycles), RUN)
    assert [by_period(i) for i in range(RUN)] == [by_cycles(i) for i in range(RUN)]


def test_piecewise_hands_over_at_its_boundaries():
    spec = dict(
        type='piecewise',
        boundaries=[0.2, 600],
        schedules=[
            dict(type='constant', value=0.3),
            dict(type='linear', initial=0.3, final=1.0),
            dict(type='cosine', start=0.5, end=1.0, initial=1.0, final=0.0),
        ],
    )
    schedule = build_schedule(spec, RUN)
    for step in range(200):
        assert schedule(step) == 0.3
    for step in range(200, 600):
        assert schedule(step) == pytest.approx(0.3 + 0.7 * (step - 200) / 400, abs=1e-12)
    for step in range(600, 801):
        assert schedule(step) == 1.0
    for step in range(800, 1000):
        way = 0.5 - 0.5 * math.cos(math.pi * (step - 800) / 200)
        assert schedule(step) == pytest.approx(1 - way, abs=1e-12)
    assert schedule(1000) == 0.0


def test_piecewise_nests():
    inner = dict(
        type='piecewise',
        boundaries=[0.5],
        schedules=[dict(type='constant', value=2), dict(type='linear', initial=2, final=4)],
    )
    outer = dict(
        type='piecewise', boundaries=[0.6], schedules=[inner, dict(type='constant', value=9)]
    )
    schedule = build_schedule(outer, 100)
    assert [schedule(step) for step in (0, 29, 30, 45, 59, 60, 99)] == pytest.approx(
        [2, 2, 2, 3, 2 + 2 * 29 / 30, 9, 9], abs=1e-12
    )


def test_three_losses_share_one_run():
    weights = build_schedules(
        dict(
            loss_dice=dict(type='linear', start=0.1, end=0.4, initial=1, final=0),
            loss_ce=dict(type='linear', start=0.5, end=0.9),
            loss_lovasz=dict(complement_of=['loss_dice', 'loss_ce']),
        ),
        RUN,
    )
    for step in range(RUN + 1):
        dice = 1 - min(1, max(0, (step - 100) / 300))
        ce = min(1, max(0, (step - 500) / 400))
        assert weights['loss_lovasz'](step) == pytest.approx(1 - dice - ce, abs=1e-12)
    assert weights['loss_lovasz'](450) == 1.0
    assert weights['loss_lovasz'](900) == 0.0


def test_complement_of_a_complement_and_of_another_total():
    weights = build_schedules(
        dict(b=dict(complement_of='a'), c=dict(complement_of='b', total=3), a=dict(type='naive')),
        RUN,
    )
    for step in range(RUN + 1):
        w = naive_of_equation_5(step, 300, 900)
        assert weights['b'](step) == pytest.approx(1 - w, abs=1e-12)
        assert weights['c'](step) == pytest.approx(2 + w, abs=1e-12)


def test_every_schedule_is_a_pure_function():
    specs = {kind: dict(type=kind) for kind in SCHEDULES}
    specs['piecewise'] |= dict(
        boundaries=[0.3], schedules=[dict(type='cosine'), dict(type='alternating')]
    )
    for kind, spec in specs.items():
        copy = dict(spec)
        schedule = build_schedule(spec, RUN)
        forwards = [schedule(step) for step in range(RUN)]
        backwards = [schedule(step) for step in reversed(range(RUN))]
        assert forwards == backwards[::-1], kind
        assert spec == copy, kind


def test_the_public_surface_lists_every_schedule():
    assert set(SCHEDULES) | {'complement_of'} <= set(schedules.__all__)
    assert all(SCHEDULES[kind].__name__ == kind for kind in SCHEDULES)


@pytest.mark.parametrize(
    ('spec', 'error', 'message'),
    [
        (
            dict(type='ramp'),
            ValueError,
            r"type='ramp' is no schedule: use one of constant, linear, cosine, naive, alternating, "
            r'oscillating, piecewise\.',
        ),
        (dict(start=0.1), ValueError, r'type=None is no schedule'),
        (0.5, TypeError, r'0\.5 is no schedule: give a dict'),
        (
            dict(type='linear', stop=3),
            ValueError,
            r"'linear': .*'stop'; it takes start, end, initial",
        ),
        (dict(type='piecewise'), ValueError, r"'piecewise': missing .*'boundaries'; it takes"),
        (
            dict(type='naive', start=0.9, end=0.3),
            ValueError,
            r'end=0\.3 \(iteration 30\) comes before start=0\.9 \(iteration 90\)',
        ),
        (
            dict(type='naive', start=40, end=0.3),
            ValueError,
            r'end=0\.3 \(iteration 30\) comes before',
        ),
        (dict(type='alternating', start=50, end=20), ValueError, r'end=20 .* before start=50'),
        (dict(type='linear', start=-0.1), ValueError, r'start=-0\.1 is no position'),
        (dict(type='linear', end=2.5), ValueError, r'end=2\.5 is no position'),
        (dict(type='linear', end=-3), ValueError, r'end=-3 is no position'),
        (dict(type='linear', end=float('nan')), ValueError, r'end=nan must be finite'),
        (dict(type='linear', end=float('inf')), ValueError, r'end=inf must be finite'),
        (dict(type='linear', end='0.9'), TypeError, r"end='0\.9' must be a number"),
        (dict(type='linear', start=True), TypeError, r'start=True must be a number'),
        (dict(type='cosine', final=float('inf')), ValueError, r'final=inf must be finite'),
        (dict(type='constant', value=None), TypeError, r'value=None must be a number'),
        (dict(type='oscillating', cycles=1.5), ValueError, r'cycles=1\.5 must be a whole number'),
        (dict(type='oscillating', cycles=-1), ValueError, r'cycles=-1 must be a whole number'),
        (dict(type='oscillating', cycles=1, period=0.1), ValueError, r'give one of them'),
        (dict(type='oscillating', period=0), ValueError, r'period=0 is no length'),
        (
            dict(type='piecewise', boundaries=[0.5], schedules=[dict(type='linear')]),
            ValueError,
            r'cut the run into 2 pieces, but there are 1 schedules',
        ),
        (
            dict(type='piecewise', boundaries=[0.5, 0.2], schedules=[dict(type='linear')] * 3),
            ValueError,
            r'must increase and lie inside the run: of 100 steps they make pieces of '
            r'\[50, -30, 80\]',
        ),
        (
            dict(type='piecewise', boundaries=[200], schedules=[dict(type='linear')] * 2),
            ValueError,
            r'must increase and lie inside the run',
        ),
        (
            dict(
                type='piecewise',
                boundaries=[0.5],
                schedules=[dict(type='linear'), dict(complement_of='loss_ce')],
            ),
            ValueError,
            r'complement_of cannot stand inside a piecewise schedule',
        ),
        (
            dict(
                type='piecewise', boundaries=[0.5], schedules=[dict(type='linear'), dict(type='x')]
            ),
            ValueError,
            r"type='x' is no schedule",
        ),
    ],
)
def test_errors_say_what_is_wrong_and_what_is_allowed(spec, error, message):
    with pytest.raises(error, match=message):
        build_schedule(spec, 100)


@pytest.mark.parametrize(
    ('specs', 'message'),
    [
        (dict(a=dict(complement_of='a')), r'is circular: a -> a'),
        (dict(a=dict(complement_of='b'), b=dict(complement_of='a')), r'is circular: a -> b -> a'),
        (
            dict(a=dict(complement_of=['b', 'c']), b=dict(type='naive'), c=dict(complement_of='a')),
            r'is circular: a -> c -> a',
        ),
        (
            dict(a=dict(type='naive'), b=dict(complement_of='c')),
            r"'b': complement_of='c' has no schedule; those that have one are 'a', 'b'",
        ),
        (
            dict(a=dict(type='naive'), b=dict(complement_of='a', start=0.2)),
            r"'b': complement_of takes only total beside it, not start",
        ),
        (dict(a=dict(type='naive', start=3)), r"Schedule of 'a': end=0\.9 \(iteration 0\.9\)"),
    ],
)
def test_errors_name_the_schedule(specs, message):
    with pytest.raises(ValueError, match=message):
        build_schedules(specs, 1)


@pytest.mark.parametrize('num_steps', [0, -5])
def test_a_run_of_no_length_is_refused(num_steps):
    with pytest.raises(ValueError, match='longer than 0'):
        build_schedule(dict(type='naive'), num_steps)
