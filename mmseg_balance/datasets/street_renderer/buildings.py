"""Rows of houses: facades with windows in true perspective, near walls and roofs."""

from dataclasses import dataclass

import numpy as np

from mmseg_balance.datasets.street_renderer.canvas import BUILDING, NEAR, Canvas

PLASTER = (
    (0.62, 0.55, 0.42),
    (0.55, 0.36, 0.27),
    (0.48, 0.25, 0.18),
    (0.60, 0.58, 0.54),
    (0.42, 0.43, 0.46),
    (0.66, 0.60, 0.50),
    (0.50, 0.47, 0.36),
    (0.38, 0.30, 0.26),
)
ROOF = ((0.34, 0.16, 0.11), (0.20, 0.20, 0.22), (0.28, 0.22, 0.18))


@dataclass(frozen=True)
class House:
    """A house from z = `start` to `end` on one side of the street."""

    side: int
    start: float
    end: float
    front: float
    height: float
    wall: np.ndarray
    roof: np.ndarray | None
    storey: float
    window: tuple[float, float, float]  # spacing in metres, share of width, share of height
    shop: np.ndarray | None


def plan_row(
    rng: np.random.Generator,
    side: int,
    front: float,
    density: float,
    gap: tuple[float, float] | None,
) -> list[House]:
    """Line up houses from the camera into the distance, leaving `gap` (z0, z1) open."""
    houses, z = [], rng.uniform(-6, 2)
    grandeur = rng.uniform(7, 16)
    while z < 150:
        length = rng.uniform(7, 20)
        if gap and z + length > gap[0] and z < gap[1]:
            if gap[0] - z > 5:
                houses.append(_house(rng, side, z, gap[0], front, grandeur))
            z = gap[1]
            continue
        if rng.random() < density:
            houses.append(_house(rng, side, z, z + length, front, grandeur))
        z += length + (rng.uniform(1, 6) if rng.random() < 0.25 else 0)
    return houses


def _house(
    rng: np.random.Generator, side: int, start: float, end: float, front: float, grandeur: float
) -> House:
    wall = np.array(PLASTER[rng.integers(len(PLASTER))]) * rng.uniform(0.75, 1.15)
    storey = rng.uniform(2.9, 3.6)
    return House(
        side=side,
        start=start,
        end=end,
        front=front + (-1, 1)[side] * rng.choice([0.0, 0.0, rng.uniform(0, 1.5)]),
        height=storey * max(2, round(grandeur * rng.uniform(0.7, 1.35) / storey)) + 0.6,
        wall=wall,
        roof=np.array(ROOF[rng.integers(len(ROOF))]) if rng.random() < 0.6 else None,
        storey=storey,
        window=(rng.uniform(1.7, 3.4), rng.uniform(0.35, 0.62), rng.uniform(0.42, 0.62)),
        shop=rng.uniform(0.1, 0.6, 3) if rng.random() < 0.35 else None,
    )


def paint_house(canvas: Canvas, house: House) -> None:
    """Paint what is seen of a house: roof, the wall that looks at the camera, the facade."""
    if house.end <= NEAR:
        return
    out = (-1, 1)[house.side]
    x, y = house.front, house.height
    back, ridge = x + out * 9, y + 3.2
    if house.roof is not None:
        slope = np.array([-out * 0.6, 0.8, 0.0])
        near = max(house.start, NEAR)
        canvas.face(
            [
                [x, y, near],
                [x, y, house.end],
                [x + out * 4.5, ridge, house.end],
                [x + out * 4.5, ridge, near],
            ],
            house.roof,
            BUILDING,
            slope,
        )
    if house.start > NEAR:
        z = house.start
        wall = [[x, 0, z], [x, y, z], [back, y, z], [back, 0, z]]
        if house.roof is not None:
            wall.insert(2, [x + out * 4.5, ridge, z])
        canvas.face(wall, house.wall * 0.92, BUILDING, (0, 0, -1))
    _paint_facade(canvas, house)


def _paint_facade(canvas: Canvas, house: House) -> None:
    """Paint the street front column by column: in a plane x = const, z depends on the column."""
    camera = canvas.camera
    near, far = max(house.start, NEAR), house.end
    edges = sorted(camera.centre + house.front * camera.focal / np.array([near, far]))
    first, last = (
        max(0, int(np.ceil(edges[0] - 0.5))),
        min(camera.width, int(np.ceil(edges[1] - 0.5))),
    )
    if first >= last:
        return
    columns = np.arange(first, last) + 0.5
    z = house.front * camera.focal / (columns - camera.centre)
    rows = np.arange(camera.height)[:, None] + 0.5
    y = camera.eye - (rows - camera.horizon) * z / camera.focal
    inside = (y >= 0) & (y <= house.height)
    top, bottom = np.flatnonzero(inside.any(axis=1))[[0, -1]]
    y, inside = y[top : bottom + 1], inside[top : bottom + 1]
    albedo = _facade_albedo(
        canvas.rng,
        house,
        np.broadcast_to(z, y.shape) - house.start,
        y,
        np.clip(camera.focal / z / 7, 0, 1),
    )
    normal = ((1, 0, 0), (-1, 0, 0))[house.side]
    region = np.s_[top : bottom + 1, first:last]
    canvas.image[region][inside] = (albedo * canvas.light.on(normal))[inside]
    canvas.label[region][inside] = BUILDING
    canvas.depth[region][inside] = np.broadcast_to(z, y.shape)[inside]


def _facade_albedo(
    rng: np.random.Generator, house: House, along: np.ndarray, y: np.ndarray, detail: np.ndarray
) -> np.ndarray:
    spacing, wide, tall = house.window
    column, row = along / spacing, y / house.storey
    u, v = column - np.floor(column), row - np.floor(row)
    gap_u = (1 - wide) / 2
    frame = (np.abs(u - 0.5) < wide / 2) & (np.abs(v - 0.52) < tall / 2)
    frame &= (y < house.height - 0.9) & (y > 0.4)
    glass = (np.abs(u - 0.5) < wide / 2 - 0.06 / spacing) & (np.abs(v - 0.52) < tall / 2 - 0.025)
    glass &= frame & (np.abs(u - 0.5) > 0.02)
    table = rng.uniform(0.03, 0.34, (16, 16)) ** 1.2
    pane = table[np.floor(column).astype(int) % 16, np.floor(row).astype(int) % 16]
    stain = 1 + 0.05 * np.sin(along * 1.3) * np.sin(y * 0.9 + 1) - 0.12 * np.exp(-y / 0.8)
    brick = 1 + 0.06 * ((np.mod(y, 0.35) < 0.08) | (np.mod(along, 0.9) < 0.05)) * detail
    colour = house.wall * (stain * brick)[..., None]
    cornice = (house.height - y < 0.45) | (np.abs(v - 0.02) < 0.03)
    colour = np.where(cornice[..., None], house.wall * 1.18, colour)
    blend = detail[..., None]
    window = np.where(
        glass[..., None],
        pane[..., None] * np.array([0.85, 0.98, 1.12]),
        np.minimum(house.wall * 1.45, 0.85),
    )
    mean_window = 0.5 * house.wall + 0.5 * 0.15
    window = window * blend + mean_window * (1 - blend)
    colour = np.where(frame[..., None], window, colour)
    if house.shop is not None:
        colour = _with_shop(house, colour, along, y)
    else:
        door = (np.abs(along - gap_u * spacing - 1.2) < 0.5) & (y < 2.2)
        colour = np.where(door[..., None], house.wall * 0.35, colour)
    return colour


def _with_shop(house: House, colour: np.ndarray, along: np.ndarray, y: np.ndarray) -> np.ndarray:
    length = house.end - house.start
    board = (y > 2.7) & (y < 3.2) & (along > 0.5) & (along < length - 0.5)
    pane = (y > 0.5) & (y <= 2.7) & (along > 0.6) & (along < length - 0.6)
    pane &= np.mod(along, 2.4) > 0.12
    shelf = np.floor(along / 0.7).astype(int) * 7 + np.floor(y / 0.75).astype(int) * 5
    goods = 0.06 + 0.05 * np.mod(shelf * 0.618, 1.0) + 0.05 * y
    colour = np.where(board[..., None], house.shop, colour)
    return np.where(pane[..., None], goods[..., None] * np.array([1.05, 1.0, 0.9]), colour)
