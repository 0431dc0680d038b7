"""Composes one street scene: weather, street plan, objects from far to near, camera."""

from collections.abc import Callable

import cv2
import numpy as np

from mmseg_balance.datasets.street_renderer import backdrop, buildings, cars, objects, people
from mmseg_balance.datasets.street_renderer.canvas import FAR, Camera, Canvas, Light, smooth_noise

SUPERSAMPLING = 2
CYCLIST_EVERY = 10  # a cyclist in every tenth image, so that any ten images have one

# (zenith, horizon, sun, ambient, share of the draw); linear RGB
WEATHER = {
    'clear': ((0.16, 0.34, 0.74), (0.62, 0.76, 0.92), (1.00, 0.92, 0.78), (0.30, 0.34, 0.42), 0.38),
    'evening': (
        (0.22, 0.26, 0.48),
        (0.95, 0.66, 0.42),
        (0.95, 0.58, 0.28),
        (0.24, 0.23, 0.28),
        0.20,
    ),
    'overcast': (
        (0.58, 0.62, 0.66),
        (0.78, 0.80, 0.82),
        (0.14, 0.14, 0.14),
        (0.52, 0.54, 0.56),
        0.26,
    ),
    'dusk': ((0.06, 0.08, 0.17), (0.32, 0.26, 0.32), (0.05, 0.05, 0.07), (0.15, 0.16, 0.22), 0.16),
}


def render_street_scene(
    seed: int | tuple[int, ...], size: tuple[int, int] = (128, 256), with_cyclist: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Render a street scene and its labels; the same seed gives the same bytes.

    Args:
        seed: Anything that seeds `numpy.random.default_rng`.
        size: Height and width in pixels.
        with_cyclist: Put a cyclist on the road.

    Returns:
        RGB image (H, W, 3) uint8 and labels (H, W) uint8, indices into `CLASSES`.

    >>> image, label = render_street_scene(0, with_cyclist=True)
    >>> image.shape, label.shape, bool((label == 9).any())
    ((128, 256, 3), (128, 256), True)
    """
    rng = np.random.default_rng(seed)
    camera = _plan_camera(rng, size)
    light, zenith, horizon, clouds = _plan_light(rng)
    canvas = Canvas(camera, light, rng)
    street, rows = _plan_street(rng)
    things, footprints = _plan_objects(rng, street, with_cyclist)

    backdrop.paint_sky(canvas, zenith, horizon, clouds)
    backdrop.paint_skyline(canvas)
    backdrop.paint_ground(canvas, street)
    backdrop.cast_shadows(canvas, street, rows, footprints)
    for house in sorted(rows[0] + rows[1], key=lambda house: -house.start):
        buildings.paint_house(canvas, house)
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint(canvas)
    return _develop(canvas)


def _plan_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    return Camera(
        width=width,
        height=height,
        focal=width * rng.uniform(0.72, 0.95),
        eye=rng.uniform(1.35, 1.9),
        centre=width * rng.uniform(0.36, 0.64),
        horizon=height * rng.uniform(0.40, 0.50),
    )


def _plan_light(rng: np.random.Generator):
    names = list(WEATHER)
    name = names[rng.choice(len(names), p=[WEATHER[n][-1] for n in names])]
    zenith, horizon, sun, ambient, _ = (np.array(v) for v in WEATHER[name])
    elevation = np.deg2rad(rng.uniform(8, 22) if name == 'evening' else rng.uniform(25, 60))
    azimuth = rng.uniform(-np.pi, np.pi)
    direction = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )
    clouds = {'clear': rng.uniform(0, 0.55), 'overcast': rng.uniform(0.8, 1.0)}.get(
        name, rng.uniform(0.1, 0.7)
    )
    brightness = rng.uniform(0.85, 1.15)
    light = Light(
        direction,
        sun * brightness,
        ambient * brightness,
        haze=0.9 * horizon,
        haze_range=rng.choice([90.0, 160.0, 300.0, 500.0]),
    )
    return light, zenith, horizon, clouds


def _plan_street(rng: np.random.Generator):
    lane = rng.uniform(2.9, 3.7)
    lanes = rng.choice([2, 2, 3])
    centre_line = -lane / 2 - rng.uniform(-0.4, 0.4)
    kerbs = (
        centre_line - lane * (lanes - 1) - rng.choice([0.3, 2.1]),
        centre_line + lane + rng.choice([0.3, 2.1]),
    )
    crossing = None
    if rng.random() < 0.35:
        start = rng.uniform(14, 34)
        crossing = (start, start + rng.uniform(6, 9))
    density = rng.choice([1.0, 0.9, 0.2], 2, p=[0.5, 0.33, 0.17])
    verge = tuple(bool(v) for v in (rng.random(2) < 0.3) | (density < 0.5))
    street = backdrop.Street(
        kerbs=kerbs,
        pavement=tuple(rng.uniform(1.8, 4.2, 2)),
        verge=verge,
        setback=tuple(rng.uniform(2, 6) if green else 0.0 for green in verge),
        crossing=crossing,
        zebra=rng.uniform(7, 20) if rng.random() < 0.3 else None,
        centre_line=centre_line,
        park=tuple(bool(v) for v in density < 0.5),
    )
    rows = [
        buildings.plan_row(rng, side, street.front(side), density[side], crossing)
        for side in (0, 1)
    ]
    return street, rows


def _plan_objects(rng: np.random.Generator, street: backdrop.Street, with_cyclist: bool):
    """List (depth, paint) pairs and the footprints that throw shadows."""
    things: list[tuple[float, Callable[[Canvas], None]]] = []
    footprints: list[tuple[float, ...]] = []

    def add(x, z, box, paint, *args):
        half_x, half_z, bottom, top = box
        footprints.append((x - half_x, x + half_x, z - half_z, z + half_z, bottom, top))
        things.append((z, lambda canvas: paint(canvas, x, z, *args)))

    for side in (0, 1):
        _plan_greenery(rng, street, side, add, things)
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


def _plan_greenery(rng, street, side, add, things) -> None:
    sign = (-1, 1)[side]
    if rng.random() < 0.5:
        x, step = street.kerbs[side] + sign * rng.uniform(0.7, 1.1), rng.uniform(7, 14)
        for z in np.arange(rng.uniform(5, 12), 75, step):
            height, spread = rng.uniform(4.5, 8.5), rng.uniform(1.3, 2.4)
            if rng.random() < 0.85 and not _in_crossing(street, z):
                add(
                    x,
                    z,
                    (spread * 0.8, spread * 0.8, height * 0.4, height),
                    objects.paint_tree,
                    height,
                    spread,
                )
    edge = street.kerbs[side] + sign * street.pavement[side]
    if street.park[side]:
        for z in rng.uniform(12, 80, 16):
            if not _in_crossing(street, z):
                add(
                    edge + sign * rng.uniform(4, 22),
                    z,
                    (1.5, 1.5, 2, 6),
                    objects.paint_tree,
                    rng.uniform(5, 9),
                    rng.uniform(1.5, 3.0),
                )
    if street.verge[side]:
        for z in np.arange(rng.uniform(4, 10), 60, 9):
            kind = rng.random()
            x = edge + sign * rng.uniform(0.8, max(1.0, street.setback[side] - 0.8))
            if _in_crossing(street, z) or _in_crossing(street, z + 6):
                continue
            if kind < 0.4:
                add(
                    x,
                    z,
                    (0.8, 0.8, 0, 1.5),
                    objects.paint_bush,
                    rng.uniform(1.2, 2.6),
                    rng.uniform(0.8, 1.9),
                )
            elif kind < 0.65:
                tall = rng.uniform(0.8, 1.5)
                things.append(
                    (
                        z + 3,
                        lambda canvas, z=z, tall=tall: objects.paint_hedge(
                            canvas, edge + sign * 0.4, z, z + 6, tall
                        ),
                    )
                )
            elif kind < 0.85:
                add(
                    x,
                    z,
                    (1.5, 1.5, 2, 6),
                    objects.paint_tree,
                    rng.uniform(4, 8),
                    rng.uniform(1.2, 2.2),
                )


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


def _develop(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Add haze, lens, exposure and sensor noise; scale down to the final size."""
    rng, light, camera = canvas.rng, canvas.light, canvas.camera
    image = canvas.image
    clear = np.exp(-canvas.depth / light.haze_range)
    clear = np.where(canvas.depth >= FAR, 1.0, clear)[..., None].astype(np.float32)
    image = image * clear + light.haze.astype(np.float32) * (1 - clear)
    dirt = smooth_noise(rng, image.shape[:2], 40, octaves=2)
    image = image * (1 + 0.03 * dirt[..., None])
    size = camera.width // SUPERSAMPLING, camera.height // SUPERSAMPLING
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.6))
    image = image * rng.uniform(0.94, 1.06, 3)
    exposure = np.clip(0.46 / max(float(np.percentile(image, 60)), 1e-3), 0.7, 2.4) ** 0.7
    rows = np.linspace(-1, 1, size[1])[:, None]
    columns = np.linspace(-1, 1, size[0])[None]
    vignette = 1 - 0.14 * (rows**2 + columns**2)
    image = np.clip(image * exposure * vignette[..., None], 0, None)
    image = image + rng.normal(0, 1, image.shape) * np.sqrt(0.0002 + 0.0009 * image)
    image = np.clip(image, 0, 1) ** (1 / 2.0)
    label = canvas.label[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING]
    return (image * 255 + 0.5).astype(np.uint8), label.copy()
