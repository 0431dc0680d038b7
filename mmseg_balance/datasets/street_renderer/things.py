"""What stands in the street and where: plants, posts, cars and people, none in another."""

from collections.abc import Callable

import numpy as np

from mmseg_balance.datasets.street_renderer import backdrop, cars, objects, people
from mmseg_balance.datasets.street_renderer.canvas import Canvas

TREE = (1.5, 1.5, 2, 6)  # half widths across and along the street, bottom and top of the crown


def plan_things(rng: np.random.Generator, street: backdrop.Street, with_cyclist: bool):
    """List (depth, paint) pairs and the footprints that throw shadows."""
    things: list[tuple[float, Callable[[Canvas], None]]] = []
    footprints: list[tuple[float, ...]] = []

    def add(x, z, box, paint, *args):
        half_x, half_z, bottom, top = box
        footprints.append((x - half_x, x + half_x, z - half_z, z + half_z, bottom, top))
        things.append((z, lambda canvas: paint(canvas, x, z, *args)))

    for side in (0, 1):
        _plan_alley(rng, street, side, add)
        if street.park[side]:
            _plan_park(rng, street, side, add)
        if street.verge[side]:
            _plan_verge(rng, street, side, add, things)
        _plan_posts(rng, street, side, add)
    _plan_cars(rng, street, things, footprints)
    _plan_people(rng, street, add)
    if with_cyclist:
        across = bool(rng.random() < 0.4)
        x = (
            rng.uniform(-2.5, 2.5)
            if across
            else rng.choice([street.kerbs[1] - 0.8, street.centre_line + rng.uniform(0.5, 1.2)])
        )
        add(
            x,
            rng.uniform(11.0, 19.0),
            (0.8 if across else 0.25, 0.3, 0, 1.7),
            people.paint_cyclist,
            across,
        )
    return things, footprints


def _plan_alley(rng, street, side, add) -> None:
    sign = (-1, 1)[side]
    if rng.random() >= 0.5:
        return
    x, step = street.kerbs[side] + sign * rng.uniform(0.7, 1.1), rng.uniform(7, 14)
    for z in np.arange(rng.uniform(5, 12), 75, step):
        height, spread = rng.uniform(4.5, 8.5), rng.uniform(1.3, 2.4)
        if rng.random() < 0.85 and not _in_crossing(street, z):
            box = (spread * 0.8, spread * 0.8, height * 0.4, height)
            add(x, z, box, objects.paint_tree, height, spread)


def _plan_park(rng, street, side, add) -> None:
    sign = (-1, 1)[side]
    edge = street.kerbs[side] + sign * street.pavement[side]
    for z in rng.uniform(12, 80, 16):
        if not _in_crossing(street, z):
            x, height = edge + sign * rng.uniform(4, 22), rng.uniform(5, 9)
            add(x, z, TREE, objects.paint_tree, height, rng.uniform(1.5, 3.0))


def _plan_verge(rng, street, side, add, things) -> None:
    sign = (-1, 1)[side]
    edge = street.kerbs[side] + sign * street.pavement[side]
    for z in np.arange(rng.uniform(4, 10), 60, 9):
        kind = rng.random()
        x = edge + sign * rng.uniform(0.8, max(1.0, street.setback[side] - 0.8))
        if _in_crossing(street, z) or _in_crossing(street, z + 6):
            continue
        if kind < 0.4:
            size = rng.uniform(1.2, 2.6), rng.uniform(0.8, 1.9)
            add(x, z, (0.8, 0.8, 0, 1.5), objects.paint_bush, *size)
        elif kind < 0.65:
            hedge = (edge + sign * 0.4, z, z + 6, rng.uniform(0.8, 1.5))
            things.append((z + 3, lambda canvas, hedge=hedge: objects.paint_hedge(canvas, *hedge)))
        elif kind < 0.85:
            add(x, z, TREE, objects.paint_tree, rng.uniform(4, 8), rng.uniform(1.2, 2.2))


def _plan_posts(rng, street, side, add) -> None:
    sign = (-1, 1)[side]
    x = street.kerbs[side] + sign * 0.45
    if rng.random() < 0.6:
        height = rng.uniform(5.5, 8)
        for z in np.arange(rng.uniform(7, 20), 85, rng.uniform(18, 28)):
            add(x, z, (0.08, 0.08, 0, height), objects.paint_lamp_post, height)
    if rng.random() < 0.25:
        for z in np.arange(rng.uniform(5, 9), rng.uniform(14, 24), 1.8):
            add(x, z, (0.08, 0.08, 0, 1), objects.paint_bollard)
    if rng.random() < 0.2:
        z = rng.uniform(7, 20)
        add(x + sign * rng.uniform(0, 0.4), z, (0.06, 0.06, 0, 2.8), objects.paint_sign)


def _plan_cars(rng, street, things, footprints) -> None:
    def add(x, z, yaw):
        half_x, half_z = (0.88, 2.1) if abs(np.sin(yaw)) < 0.5 else (2.1, 0.88)
        box = (x - half_x, x + half_x, z - half_z, z + half_z)
        footprints.append((*box, 0.0, 1.3))

        def paint(canvas):
            backdrop.contact_shadow(canvas, *box)
            cars.paint_car(canvas, x, z, yaw)

        things.append((z, paint))

    for side in (0, 1):
        inward = (1, -1)[side]
        if rng.random() < 0.5:
            for z in np.arange(rng.uniform(7, 18), 70, 6.2):
                if rng.random() < 0.6 and not _in_crossing(street, z):
                    add(street.kerbs[side] + inward * 1.05, z, rng.normal(0, 0.03))
    if rng.random() < 0.45:
        add(street.centre_line + rng.uniform(1.5, 1.9), rng.uniform(11, 40), rng.normal(0, 0.03))
    if rng.random() < 0.5:
        add(
            street.centre_line - rng.uniform(1.5, 1.9),
            rng.uniform(10, 40),
            np.pi + rng.normal(0, 0.03),
        )
    if street.crossing and rng.random() < 0.4:
        z = sum(street.crossing) / 2
        add(rng.uniform(-7, 7), z, rng.choice([-1, 1]) * np.pi / 2)


def _plan_people(rng, street, add) -> None:
    if rng.random() > 0.42:
        return
    for _ in range(rng.integers(1, 6)):
        height = rng.uniform(1.5, 1.9)
        if street.zebra is not None and rng.random() < 0.4:
            x = rng.uniform(street.kerbs[0] + 0.5, street.kerbs[1] - 0.5)
            z = street.zebra + rng.uniform(0.5, 2.5)
        else:
            side = rng.integers(2)
            z = rng.uniform(6, 26)
            x = street.kerbs[side] + (-1, 1)[side] * rng.uniform(0.5, street.pavement[side] - 0.3)
        add(x, z, (0.2, 0.15, 0, height), people.paint_pedestrian, height)


def _in_crossing(street: backdrop.Street, z: float) -> bool:
    return street.crossing is not None and street.crossing[0] - 1 < z < street.crossing[1] + 1
