"""Cars: a body of flat sides with wheels, windows and lamps."""

from itertools import pairwise

import numpy as np

from mmseg_balance.datasets.street_renderer.canvas import CAR, Canvas

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
