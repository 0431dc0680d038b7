"""Pedestrians and cyclists."""

from itertools import pairwise

import numpy as np

from mmseg_balance.datasets.street_renderer.canvas import CYCLIST, PEDESTRIAN, Canvas

SKIN = ((0.62, 0.42, 0.32), (0.45, 0.28, 0.19), (0.22, 0.13, 0.09), (0.70, 0.50, 0.40))
HAIR = ((0.05, 0.04, 0.03), (0.18, 0.10, 0.05), (0.42, 0.32, 0.16), (0.4, 0.4, 0.4))


def _clothes(canvas: Canvas, bright: float = 0.75) -> tuple[np.ndarray, ...]:
    """Colours of coat, trousers, skin and hair, lit."""
    rng = canvas.rng
    light = 0.6 * canvas.light.on((0, 0, -1)) + 0.4 * canvas.light.on(
        (np.sign(canvas.light.direction[0]), 0, 0)
    )
    coat = rng.uniform(0.03, bright) * rng.dirichlet((2, 2, 2)) * 1.9
    trousers = rng.uniform(0.03, 0.3) * np.array([0.9, 0.95, 1.1])
    return (
        coat * light,
        trousers * light,
        np.array(SKIN[rng.integers(4)]) * light,
        np.array(HAIR[rng.integers(4)]) * light,
    )


def paint_pedestrian(canvas: Canvas, x: float, z: float, height: float) -> None:
    """Paint someone who walks or stands; lengths below are shares of the height."""
    rng = canvas.rng
    coat, trousers, skin, hair = _clothes(canvas)
    stride, sway = rng.uniform(0.02, 0.16), rng.uniform(-0.03, 0.03)
    bulk = rng.uniform(0.9, 1.15)

    def at(across, up):
        return (x + across * height, up * height, z)

    def limb(start, end, wide, narrow, colour):
        canvas.limb(at(*start), at(*end), (wide * height, narrow * height), colour, PEDESTRIAN)

    for foot in (-stride, stride):
        knee = (foot * 0.55 + 0.02, 0.27)
        limb((foot * 0.2, 0.50), knee, 0.105 * bulk, 0.08, trousers)
        limb(knee, (foot, 0.03), 0.08, 0.055, trousers)
        limb((foot - 0.02, 0.015), (foot + 0.06, 0.015), 0.04, 0.03, trousers * 0.3)
    swing = rng.uniform(0.05, 0.16)
    for side in (-1, 1):
        limb(
            (side * 0.10 + sway, 0.79),
            (side * (0.12 + swing * 0.3), 0.62),
            0.065,
            0.055,
            coat * 0.85,
        )
        limb((side * (0.12 + swing * 0.3), 0.62), (side * swing, 0.47), 0.055, 0.04, coat * 0.85)
    limb((sway, 0.83), (0, 0.46), 0.20 * bulk, 0.19 * bulk, coat)
    bright = np.sign(canvas.light.direction[0])
    limb((sway + bright * 0.055, 0.82), (bright * 0.055, 0.47), 0.07, 0.07, coat * 1.25)
    limb((sway, 0.80), (sway, 0.88), 0.07, 0.06, skin * 0.8)
    canvas.blob(at(sway, 0.925), (0.055 * height, 0.072 * height), skin, PEDESTRIAN)
    canvas.blob(at(sway, 0.955), (0.058 * height, 0.047 * height), hair, PEDESTRIAN)
    if rng.random() < 0.35:
        canvas.blob(
            at(rng.choice([-1, 1]) * 0.13, 0.55),
            (0.06 * height, 0.085 * height),
            coat[::-1] * 0.6,
            PEDESTRIAN,
        )


def paint_cyclist(canvas: Canvas, x: float, z: float, across: bool) -> None:
    """Paint a rider on a bicycle, from the side (`across` the street) or from behind."""
    if across:
        _paint_from_side(canvas, x, z)
    else:
        _paint_from_behind(canvas, x, z)


def _paint_from_side(canvas: Canvas, x: float, z: float) -> None:
    rng = canvas.rng
    coat, trousers, skin, hair = _clothes(canvas, bright=1.0)
    light = canvas.light.on((0, 0, -1))
    frame = rng.uniform(0.05, 0.6, 3) * light
    way = rng.choice([-1, 1])

    def at(along, up):
        return (x + way * along, up, z)

    def limb(start, end, width, colour):
        canvas.limb(at(*start), at(*end), (width, width * 0.85), colour, CYCLIST)

    for hub in (-0.52, 0.52):
        turn = np.linspace(0, 2 * np.pi, 19)
        rim = np.stack([hub + 0.33 * np.cos(turn), 0.34 + 0.33 * np.sin(turn)], axis=-1)
        for start, end in pairwise(rim):
            limb(start, end, 0.055, 0.04 * light)
        limb((hub - 0.3, 0.34), (hub + 0.3, 0.34), 0.02, 0.3 * light)
        limb((hub, 0.04), (hub, 0.64), 0.02, 0.3 * light)
    crank, saddle, head = (-0.08, 0.32), (-0.22, 0.88), (0.38, 0.88)
    for start, end in (
        ((-0.52, 0.34), crank),
        (crank, saddle),
        (crank, head),
        (saddle, head),
        ((-0.52, 0.34), saddle),
        (head, (0.52, 0.34)),
        (head, (0.40, 1.02)),
    ):
        limb(start, end, 0.05, frame)
    hip, shoulder = (-0.2, 0.98), (rng.uniform(0.05, 0.16), rng.uniform(1.42, 1.5))
    for pedal in ((0.02, 0.2), (-0.16, 0.46)):
        knee = (0.22, 0.62 + pedal[1] * 0.25)
        limb(hip, knee, 0.17, trousers)
        limb(knee, pedal, 0.12, trousers)
    limb(hip, shoulder, 0.27, coat)
    limb(shoulder, (0.30, 1.16), 0.1, coat * 0.8)
    limb((0.30, 1.16), (0.44, 1.04), 0.08, skin)
    canvas.blob(at(shoulder[0] + 0.1, shoulder[1] + 0.2), (0.1, 0.125), skin, CYCLIST)
    helmet = rng.uniform(0.1, 0.9, 3) * light if rng.random() < 0.6 else hair
    canvas.blob(at(shoulder[0] + 0.08, shoulder[1] + 0.26), (0.13, 0.085), helmet, CYCLIST)


def _paint_from_behind(canvas: Canvas, x: float, z: float) -> None:
    rng = canvas.rng
    coat, trousers, skin, hair = _clothes(canvas, bright=1.0)
    light = canvas.light.on((0, 0, -1))

    def limb(start, end, wide, narrow, colour):
        canvas.limb(
            (x + start[0], start[1], z), (x + end[0], end[1], z), (wide, narrow), colour, CYCLIST
        )

    limb((0, 0.0), (0, 0.68), 0.07, 0.07, 0.03 * light)
    limb((-0.07, 0.62), (0.07, 0.62), 0.08, 0.08, np.array([0.6, 0.03, 0.03]) * light)
    limb((-0.30, 1.06), (0.30, 1.06), 0.05, 0.05, 0.06 * light)
    for side, foot in ((-1, 0.16), (1, 0.36)):
        limb((side * 0.10, 0.92), (side * 0.15, foot + 0.36), 0.17, 0.13, trousers)
        limb((side * 0.15, foot + 0.36), (side * 0.13, foot), 0.13, 0.09, trousers)
        limb((side * 0.20, 1.42), (side * 0.30, 1.08), 0.11, 0.08, coat * 0.8)
    limb((0, 1.52), (0, 0.86), 0.40, 0.33, coat)
    bright = np.sign(canvas.light.direction[0])
    limb((bright * 0.11, 1.48), (bright * 0.10, 0.9), 0.12, 0.1, coat * 1.25)
    canvas.blob((x, 1.62, z), (0.095, 0.13), skin, CYCLIST)
    helmet = rng.uniform(0.1, 0.9, 3) * light if rng.random() < 0.6 else hair
    canvas.blob((x, 1.68, z), (0.115, 0.09), helmet, CYCLIST)
