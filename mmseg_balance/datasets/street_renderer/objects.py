"""Trees, hedges, poles and signs."""

import numpy as np

from mmseg_balance.datasets.street_renderer.canvas import POLE, SIGN, VEGETATION, Canvas


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
