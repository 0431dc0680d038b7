"""What stands still behind the objects: sky, ground, skyline and the rows of buildings."""

from dataclasses import dataclass

import cv2
import numpy as np

from mmseg_balance.datasets.street_renderer.canvas import (
    BUILDING,
    PAVEMENT,
    ROAD,
    SKY,
    VEGETATION,
    Canvas,
    fixed_point,
    smooth_noise,
)


@dataclass(frozen=True)
class Street:
    """Plan of the street; x and z in metres."""

    kerbs: tuple[float, float]  # x of the left and the right edge of the road
    pavement: tuple[float, float]  # widths of the two pavements
    verge: tuple[bool, bool]  # grass between pavement and house?
    park: tuple[bool, bool]  # trees instead of houses?
    setback: tuple[float, float]  # from the pavement to the houses
    crossing: tuple[float, float] | None  # z of a side street
    zebra: float | None  # z of a zebra crossing
    centre_line: float

    def front(self, side: int) -> float:
        """Return x of the house fronts on side 0 (left) or 1 (right)."""
        sign = (-1, 1)[side]
        return self.kerbs[side] + sign * (self.pavement[side] + self.setback[side])


def paint_sky(canvas: Canvas, zenith, horizon, clouds: float) -> None:
    """Paint a gradient with clouds; `clouds` from 0 (clear) to 1 (overcast)."""
    camera, rng = canvas.camera, canvas.rng
    rows = int(camera.horizon) + 8  # the ground covers the rest
    reach = np.clip(np.linspace(2.2 * rows / camera.height, 0, rows), 0, 1)[:, None, None]
    sky = np.asarray(horizon) * (1 - reach) + np.asarray(zenith) * reach
    small = smooth_noise(rng, (rows // 2, camera.width // 4), 40, octaves=5)
    noise = cv2.resize(small, (camera.width, rows), interpolation=cv2.INTER_LINEAR)[..., None]
    cover = np.clip((noise + clouds * 2.2 - 1.1) * 1.4, 0, 1) * min(1, 0.3 + clouds)
    white = np.float32(np.asarray(horizon).mean()) * (0.86 + 0.12 * noise)
    canvas.image[:rows] = sky.astype(np.float32) * (1 - cover) + white * cover
    canvas.label[:] = SKY


def paint_skyline(canvas: Canvas) -> None:
    """Close the view at the horizon with far houses and trees."""
    camera, rng = canvas.camera, canvas.rng
    u = -10.0
    while u < camera.width:
        width, depth = rng.uniform(8, 40), rng.uniform(130, 220)
        green = rng.random() < 0.55
        tall = rng.uniform(5, 11) if green else rng.uniform(7, 24)
        top = camera.horizon - (tall - camera.eye) * camera.focal / depth
        box = np.array(
            [[u, camera.horizon + 3], [u, top], [u + width, top], [u + width, camera.horizon + 3]]
        )
        if green:
            box[1:3, 1] += rng.uniform(0, 3, 2)
            box = np.insert(box, 2, [[u + width / 2, top - 2.5]], axis=0)
        albedo = np.array([0.16, 0.24, 0.10]) if green else rng.uniform(0.3, 0.6) * np.ones(3)
        canvas.fill(
            box, albedo * canvas.light.on((0, 0, -1)), VEGETATION if green else BUILDING, depth
        )
        u += width * rng.uniform(0.6, 1.0)


def paint_ground(canvas: Canvas, street: Street) -> None:
    """Paint road, markings, kerbs, pavements, verges and plots."""
    top, x, z = canvas.camera.ground()
    rng = canvas.rng
    detail = np.exp(-z / 14)  # texture fades before it aliases
    grain = _ground_noise(rng, x, z, 0.9) * (0.3 + 0.7 * detail)
    fine = rng.standard_normal(x.shape, dtype=np.float32) * 0.05 * detail

    side_street = np.zeros(x.shape, bool)
    if street.crossing:
        side_street = (z > street.crossing[0]) & (z < street.crossing[1])
    on_road = ((x > street.kerbs[0]) & (x < street.kerbs[1])) | side_street
    lawn = [
        (-1, 1)[side]
        * (
            street.pavement[side]
            if street.verge[side]
            else 0.4 + abs(street.front(side) - street.kerbs[side])
        )
        + street.kerbs[side]
        for side in (0, 1)
    ]
    green = ((x < lawn[0]) | (x > lawn[1])) & ~on_road
    kerb = np.minimum(np.abs(x - street.kerbs[0] + 0.08), np.abs(x - street.kerbs[1] - 0.08)) < 0.09
    material = np.where(on_road, 0, np.where(green, 2, np.where(kerb, 3, 1)))

    slabs = np.maximum(_stripes(x, 0.6, 0.05), _stripes(z, 0.9, 0.05)) * np.exp(-z / 9)
    contrast = np.array([0.22, 0.16, 0.5, 0.1], np.float32)[material]
    roughness = np.array([1.6, 1.0, 3.0, 1.0], np.float32)[material]
    texture = 1 + contrast * grain + roughness * fine - 0.25 * slabs * (material == 1)
    stone = rng.uniform(0.36, 0.52) * np.array([1.0, 0.97, 0.92])
    tar = rng.uniform(0.13, 0.24) * np.array([1.0, 1.0, 1.03])
    grass = np.array([0.20, 0.30, 0.09]) * rng.uniform(0.7, 1.2)
    colours = np.stack([tar, stone, grass, 1.25 * stone])
    lit = (colours * canvas.light.on((0, 1, 0))).astype(np.float32)
    canvas.image[top:] = lit[material] * texture[..., None]
    paint = _markings(street, x, z, side_street) * (0.85 + 0.25 * np.clip(grain, -1, 1)) * on_road
    white = (np.array([0.62, 0.62, 0.58]) * canvas.light.on((0, 1, 0))).astype(np.float32)
    canvas.image[top:] += paint[..., None] * (white - canvas.image[top:])
    canvas.label[top:] = np.array([ROAD, PAVEMENT, VEGETATION, PAVEMENT], np.uint8)[material]
    canvas.depth[top:] = z


def cast_shadows(canvas: Canvas, street: Street, rows: list, footprints: list) -> None:
    """Darken the ground behind houses and objects, as seen from the sun.

    `footprints` are (x0, x1, z0, z1, bottom, top) boxes in metres.
    """
    light, camera = canvas.light, canvas.camera
    top, x, z = camera.ground()
    dark = np.zeros(x.shape, np.float32)
    shift = light.shadow_shift()
    side = 0 if shift[0] > 0 else 1  # houses on this side throw their shadow into the street
    if abs(shift[0]) > 0.05:
        reach = np.abs(x - street.front(side)) / abs(shift[0])
        behind = z - reach * shift[1]
        profile = _height_profile(rows[side])
        height = profile[np.clip(behind * 2, 0, len(profile) - 1).astype(int)]
        dark = np.clip((height - reach) * 2 + 0.5, 0, 1).astype(np.float32)
    for x0, x1, z0, z1, bottom, tall in footprints:
        base = np.array([[x0, z0], [x1, z0], [x1, z1], [x0, z1]])
        outline = np.concatenate([base + shift * bottom, base + shift * min(tall, 8)])
        points = np.stack([outline[:, 0], np.zeros(8), np.maximum(outline[:, 1], 1.3)], axis=-1)
        pixels = camera.project(points) - [0, top]
        hull = cv2.convexHull(fixed_point(pixels))
        cv2.fillPoly(dark, [hull], 1.0, shift=4)
    dark = cv2.GaussianBlur(dark, (0, 0), 1.2)
    lit = light.on((0, 1, 0)).mean()
    canvas.shade(1 - dark * (1 - light.ambient.mean() * 0.9 / lit), top)


def contact_shadow(canvas: Canvas, x0: float, x1: float, z0: float, z1: float) -> None:
    """Darken the ground right under an object, where no sky light comes in either."""
    points = np.array([[x0, 0, z0], [x1, 0, z0], [x1, 0, z1], [x0, 0, z1]])
    mask = np.zeros(canvas.label.shape, np.float32)
    cv2.fillPoly(mask, [fixed_point(canvas.camera.project(points))], 1.0, shift=4)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, 0.12 * canvas.camera.focal / z0))
    canvas.image *= 1 - 0.65 * mask[..., None]


def _height_profile(row: list) -> np.ndarray:
    profile = np.zeros(400)
    for house in row:
        profile[max(0, int(house.start * 2)) : int(house.end * 2)] = house.height
    return profile


def _ground_noise(
    rng: np.random.Generator, x: np.ndarray, z: np.ndarray, scale: float
) -> np.ndarray:
    tile = smooth_noise(rng, (256, 256), 16, octaves=3)
    mirrored = [
        np.ascontiguousarray(255 - np.abs(np.mod(v * 16 * scale, 510) - 255), np.float32)
        for v in (x, z)
    ]  # no seam where the tile repeats
    return cv2.remap(tile, *mirrored, cv2.INTER_LINEAR)


def _stripes(value: np.ndarray, period: float, width: float) -> np.ndarray:
    return (np.mod(value, period) < width).astype(np.float32)


def _markings(street: Street, x: np.ndarray, z: np.ndarray, side_street: np.ndarray) -> np.ndarray:
    dashes = (np.abs(x - street.centre_line) < 0.07) & (np.mod(z, 6) < 3)
    edges = np.minimum(np.abs(x - street.kerbs[0] - 0.4), np.abs(x - street.kerbs[1] + 0.4)) < 0.06
    paint = (dashes | edges) & ~side_street
    if street.zebra is not None:
        band = (z > street.zebra) & (z < street.zebra + 3)
        inside = (x > street.kerbs[0] + 0.3) & (x < street.kerbs[1] - 0.3)
        paint = (paint & ~band) | (band & inside & (np.mod(x, 1.0) < 0.5))
    return paint.astype(np.float32)
