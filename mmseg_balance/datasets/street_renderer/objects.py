"""Cars, trees, hedges, poles and signs."""

from itertools import pairwise

import numpy as np

from mmseg_balance.datasets.street_renderer.canvas import CAR, POLE, SIGN, VEGETATION, Canvas

# Side views from the rear bumper over the roof to the front bumper: share of length, metres.
# Each edge to the next corner is painted as 'b' body or 'g' glass.
SALOON = (
    (-0.50, 0.28, 'b'),
    (-0.50, 0.78, 'b'),
    (-0.47, 0.95, 'b'),
    (-0.34, 1.00, 'g'),
    (-0.22, 1.42, 'b'),
    (0.08, 1.42, 'g'),
    (0.24, 1.00, 'b'),
    (0.47, 0.82, 'b'),
    (0.50, 0.55, 'b'),
    (0.50, 0.28, 'b'),
)
HATCHBACK = (
    (-0.50, 0.28, 'b'),
    (-0.50, 0.88, 'g'),
    (-0.42, 1.46, 'b'),
    (0.06, 1.50, 'g'),
    (0.26, 1.02, 'b'),
    (0.47, 0.85, 'b'),
    (0.50, 0.55, 'b'),
    (0.50, 0.28, 'b'),
)
VAN = (
    (-0.50, 0.35, 'b'),
    (-0.50, 1.25, 'g'),
    (-0.495, 1.85, 'b'),
    (-0.48, 2.15, 'b'),
    (0.22, 2.15, 'g'),
    (0.38, 1.25, 'b'),
    (0.48, 1.05, 'b'),
    (0.50, 0.35, 'b'),
)
PAINT = (
    (0.72, 0.72, 0.72),
    (0.06, 0.06, 0.07),
    (0.30, 0.31, 0.33),
    (0.45, 0.05, 0.05),
    (0.06, 0.12, 0.34),
    (0.80, 0.80, 0.78),
    (0.12, 0.24, 0.16),
    (0.62, 0.46, 0.10),
    (0.24, 0.28, 0.36),
    (0.36, 0.30, 0.24),
)


def paint_car(canvas: Canvas, x: float, z: float, yaw: float) -> None:
    """Paint a car whose middle stands at (x, z); at yaw 0 it shows its rear."""
    rng = canvas.rng
    profile, length, width = [(SALOON, 4.5, 1.78), (HATCHBACK, 3.9, 1.70), (VAN, 5.0, 1.95)][
        rng.choice(3, p=[0.42, 0.42, 0.16])
    ]
    body = np.array(PAINT[rng.integers(len(PAINT))]) * rng.uniform(0.7, 1.2)
    forward, right = np.array([np.sin(yaw), np.cos(yaw)]), np.array([np.cos(yaw), -np.sin(yaw)])

    def place(along, up, across):
        flat = np.array([x, z]) + along * length * forward + across * width * right
        return np.array([flat[0], up, flat[1]])

    def facing(normal_flat, middle):
        return float(np.dot([normal_flat[0], normal_flat[-1]], [middle[0], middle[2]])) < 0

    corners = [(a, u) for a, u, _ in profile]
    quads = []
    for (a0, u0, kind), (a1, u1, _) in pairwise(profile):
        normal_along, normal_up = -(u1 - u0), (a1 - a0) * length
        size = np.hypot(normal_along, normal_up)
        flat = normal_along / size * forward
        normal = np.array([flat[0], normal_up / size, flat[1]])
        inset = 0.5 - 0.10 * np.clip((np.array([u0, u1]) - 0.95) / 0.5, 0, 1)
        points = np.array(
            [
                place(a0, u0, -inset[0]),
                place(a1, u1, -inset[1]),
                place(a1, u1, inset[1]),
                place(a0, u0, inset[0]),
            ]
        )
        middle = points.mean(axis=0)
        if np.dot(normal, middle - [0, canvas.camera.eye, 0]) < 0:
            quads.append((middle[2], points, kind, normal))
    for _, points, kind, normal in sorted(quads, key=lambda quad: -quad[0]):
        glass = np.array([0.10, 0.13, 0.16]) + 0.12 * normal[1]
        canvas.face(points, body if kind == 'b' else glass, CAR, normal)
    for side in (-1, 1):
        flat = side * right
        if facing(flat, place(0, 0, side * 0.5)):
            _paint_side(canvas, corners, side, place, body, (flat[0], 0.1, flat[1]))
    for end, lamp in ((-0.505, (0.55, 0.03, 0.02)), (0.505, (0.9, 0.88, 0.75))):
        flat = np.sign(end) * forward
        if facing(flat, place(end, 0, 0)):
            _paint_end(canvas, end, lamp, place, (flat[0], 0.1, flat[1]))


def _paint_side(canvas, corners, side, place, body, normal) -> None:
    def at(a, u):
        return place(a, u, side * (0.5 - 0.10 * np.clip((u - 0.95) / 0.5, 0, 1)))

    canvas.face([at(a, u) for a, u in corners], body * 0.95, CAR, normal)
    roof = max(u for _, u in corners)
    tops = [a for a, u in corners if u > roof - 0.12]
    rear, front = min(tops), max(tops)
    canvas.face(
        [
            at(rear - 0.06, 1.04),
            at(rear + 0.01, roof - 0.10),
            at(front - 0.01, roof - 0.10),
            at(front + 0.12, 1.04),
        ],
        (0.07, 0.09, 0.11),
        CAR,
        normal,
    )
    pillar = (rear + front) / 2
    canvas.face(
        [
            at(pillar - 0.01, 1.04),
            at(pillar - 0.01, roof - 0.10),
            at(pillar + 0.01, roof - 0.10),
            at(pillar + 0.01, 1.04),
        ],
        body,
        CAR,
        normal,
    )
    turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    for axle in (-0.31, 0.31):
        for radius, tone in ((0.33, 0.02), (0.19, 0.35)):
            canvas.face(
                [
                    place(axle + radius / 4.4 * np.cos(t), 0.32 + radius * np.sin(t), side * 0.505)
                    for t in turn
                ],
                tone * np.ones(3),
                CAR,
                normal,
            )


def _paint_end(canvas, end, lamp, place, normal) -> None:
    for across in (-0.42, 0.42):
        canvas.face(
            [
                place(end, u, across + s)
                for u, s in ((0.66, -0.07), (0.84, -0.07), (0.84, 0.07), (0.66, 0.07))
            ],
            lamp,
            CAR,
            normal,
        )
    for (u0, u1), half, tone in (((0.28, 0.42), 0.49, 0.05), ((0.46, 0.58), 0.15, 0.7)):
        canvas.face(
            [
                place(end, u0, -half),
                place(end, u1, -half),
                place(end, u1, half),
                place(end, u0, half),
            ],
            tone * np.ones(3),
            CAR,
            normal,
        )
    for across in (-0.36, 0.36):
        canvas.face(
            [
                place(end, u, across + s)
                for u, s in ((0, -0.06), (0.28, -0.06), (0.28, 0.06), (0, 0.06))
            ],
            (0.02, 0.02, 0.02),
            CAR,
            normal,
        )


def paint_tree(canvas: Canvas, x: float, z: float, height: float, spread: float) -> None:
    """Paint a trunk and a crown of lit leaf clumps."""
    rng = canvas.rng
    trunk = np.array([0.20, 0.15, 0.11]) * rng.uniform(0.7, 1.2) * canvas.light.on((0, 0, -1))
    fork = height * rng.uniform(0.32, 0.42)
    canvas.limb((x, 0, z), (x, fork * 1.5, z), (0.34, 0.20), trunk, VEGETATION)
    for lean in rng.uniform(-0.35, 0.35, 2):
        canvas.limb(
            (x, fork, z), (x + lean * spread, fork * 1.7, z), (0.15, 0.07), trunk, VEGETATION
        )
    leaf = np.array([rng.uniform(0.10, 0.26), rng.uniform(0.22, 0.34), rng.uniform(0.04, 0.10)])
    clumps = int(np.clip(1200 / z, 12, 120))
    _paint_foliage(
        canvas,
        (x, (fork * 1.25 + height) / 2, z),
        (spread, (height - fork * 1.1) / 2),
        leaf,
        clumps,
    )


def paint_bush(canvas: Canvas, x: float, z: float, width: float, height: float) -> None:
    """Paint a bush that stands on the ground."""
    leaf = np.array([0.12, 0.22, 0.06]) * canvas.rng.uniform(0.6, 1.3)
    _paint_foliage(
        canvas, (x, height * 0.45, z), (width / 2, height * 0.55), leaf, clumps=30, floor=0.05
    )


def _paint_foliage(canvas, centre, radii, leaf, clumps: int, floor: float = 0.0) -> None:
    rng, light = canvas.rng, canvas.light
    turn, reach = rng.uniform(0, 2 * np.pi, clumps), np.sqrt(rng.uniform(0, 1, clumps)) * 0.86
    across, up = reach * np.cos(turn), reach * np.sin(turn)
    facing = across * light.direction[0] + up * max(light.direction[1], 0.35)
    size = np.geomspace(0.42, 0.13, clumps)
    order = np.argsort(facing - 1.2 * size)  # big and dark at the back, small and bright in front
    across, up, facing, size = across[order], up[order], facing[order], size[order]
    middles = np.stack(
        [
            centre[0] + across * radii[0],
            np.maximum(floor, centre[1] + up * radii[1]),
            np.full(clumps, centre[2]),
        ],
        axis=-1,
    )
    sizes = size[:, None] * np.stack(
        [np.full(clumps, radii[0]), min(radii) * rng.uniform(0.7, 1, clumps)], axis=-1
    )
    sun = np.clip(0.32 + 0.75 * facing, 0.02, 1)[:, None]
    colours = leaf * (light.ambient * 0.75 + light.sun * sun) * rng.uniform(0.72, 1.28, (clumps, 1))
    canvas.blobs(middles, sizes, colours, VEGETATION, rng.uniform(0, 3, clumps))


def paint_hedge(canvas: Canvas, x: float, z0: float, z1: float, height: float) -> None:
    """Paint a clipped hedge along the street."""
    leaf = np.array([0.13, 0.23, 0.07]) * canvas.rng.uniform(0.7, 1.2)
    side = 1 if x < 0 else -1
    canvas.face(
        [[x, 0, z0], [x, height, z0], [x, height, z1], [x, 0, z1]], leaf, VEGETATION, (side, 0, 0)
    )
    canvas.face(
        [[x, height, z0], [x, height, z1], [x - side, height, z1], [x - side, height, z0]],
        leaf * 1.1,
        VEGETATION,
        (0, 1, 0),
    )
    canvas.face(
        [[x, 0, z0], [x, height, z0], [x - side, height, z0], [x - side, 0, z0]], leaf, VEGETATION
    )
    for z in np.arange(z1, z0, -max(0.35, (z1 - z0) / 30)):
        _paint_foliage(canvas, (x, height * 0.5, z), (0.25, height * 0.5), leaf, clumps=6)


def paint_lamp_post(canvas: Canvas, x: float, z: float, height: float) -> None:
    """Paint a lamp post whose arm reaches over the road."""
    rng = canvas.rng
    metal = rng.uniform(0.12, 0.38) * np.array([0.95, 1.0, 1.0])
    lit = metal * canvas.light.on((np.sign(canvas.light.direction[0]) * 0.7, 0, -0.7))
    canvas.limb((x, 0, z), (x, height, z), (0.19, 0.11), lit, POLE)
    reach = -np.sign(x) * rng.uniform(0.9, 1.8)
    canvas.limb((x, height, z), (x + reach, height + 0.25, z), (0.10, 0.08), lit, POLE)
    canvas.limb(
        (x + reach * 0.75, height + 0.2, z),
        (x + reach * 1.2, height + 0.25, z),
        (0.2, 0.14),
        lit * 1.3,
        POLE,
    )


def paint_bollard(canvas: Canvas, x: float, z: float) -> None:
    """Paint a knee-high post at the kerb."""
    canvas.limb(
        (x, 0, z),
        (x, 0.95, z),
        (0.16, 0.14),
        canvas.rng.uniform(0.08, 0.3) * canvas.light.on((0, 0, -1)),
        POLE,
    )


def paint_sign(canvas: Canvas, x: float, z: float) -> None:
    """Paint a traffic sign or a traffic light on a thin post."""
    rng = canvas.rng
    light = canvas.light.on((0, 0, -1)) * 0.5 + canvas.light.on((0, 1, 0)) * 0.5
    kind = rng.choice(
        ['round', 'triangle', 'square', 'board', 'light'], p=[0.3, 0.2, 0.2, 0.12, 0.18]
    )
    y, size = rng.uniform(2.2, 2.8), rng.uniform(0.30, 0.42)
    canvas.limb((x, 0, z), (x, y + size, z), (0.09, 0.09), 0.33 * light, POLE)
    if kind == 'light':
        y += 0.4
        _plate(canvas, x, y, z, 4, (0.2, 0.55), np.full(3, 0.03), turn=np.pi / 4)
        glow = rng.integers(3)
        for i, colour in enumerate(((0.9, 0.05, 0.04), (0.9, 0.5, 0.05), (0.05, 0.8, 0.3))):
            tone = np.array(colour) * (1.0 if i == glow else 0.15)
            _plate(canvas, x, y + (1 - i) * 0.25, z, 10, (0.1, 0.1), tone)
        return
    corners, turn, rim, face = {
        'round': (16, 0.0, (0.62, 0.04, 0.05), (0.85, 0.85, 0.82)),
        'triangle': (3, -np.pi / 2 + np.pi, (0.62, 0.04, 0.05), (0.85, 0.85, 0.80)),
        'square': (4, np.pi / 4, (0.8, 0.8, 0.8), (0.04, 0.12, 0.45)),
        'board': (4, np.pi / 4, (0.8, 0.8, 0.8), (0.05, 0.30, 0.14)),
    }[kind]
    if kind == 'round' and rng.random() < 0.4:
        face = (0.05, 0.14, 0.5) if rng.random() < 0.5 else rim
    stretch = 2.2 if kind == 'board' else 1.0
    for scale, colour in ((1.0, rim), (0.74, face)):
        _plate(
            canvas,
            x,
            y,
            z,
            corners,
            (size * scale * stretch, size * scale),
            np.array(colour) * light,
            turn=turn,
        )
    mark = 0.04 if np.mean(face) > 0.4 else 0.8
    canvas.limb(
        (x - size * 0.3, y, z),
        (x + size * 0.3, y, z),
        (size * 0.25, size * 0.25),
        mark * light,
        SIGN,
    )


def _plate(canvas, x, y, z, corners, radii, colour, turn: float = 0.0) -> None:
    angle = turn + np.linspace(0, 2 * np.pi, corners, endpoint=False)
    grow = np.sqrt(2) if corners == 4 else 1.0
    points = np.stack(
        [
            x + grow * radii[0] * np.cos(angle),
            y + grow * radii[1] * np.sin(angle),
            np.full(corners, z),
        ],
        axis=-1,
    )
    canvas.fill(canvas.camera.project(points), colour, SIGN, z)
