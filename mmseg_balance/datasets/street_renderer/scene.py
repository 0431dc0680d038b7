"""Composes one street scene: weather, street plan, objects from far to near, camera."""

import cv2
import numpy as np

from mmseg_balance.datasets.street_renderer import backdrop, buildings
from mmseg_balance.datasets.street_renderer.canvas import FAR, Camera, Canvas, Light, smooth_noise
from mmseg_balance.datasets.street_renderer.things import plan_things

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
    things, footprints = plan_things(rng, street, with_cyclist)

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
