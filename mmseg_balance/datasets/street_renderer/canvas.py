"""The camera, the light and the picture that everything is painted on.

World coordinates in metres: x to the right, y up from the road, z into the picture; the camera
stands at (0, eye, 0) and looks along z. Colours are linear RGB, 1 is white paper in full sun.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

CLASSES = (
    'sky',
    'building',
    'road',
    'pavement',
    'vegetation',
    'car',
    'pole',
    'sign',
    'pedestrian',
    'cyclist',
)
(SKY, BUILDING, ROAD, PAVEMENT, VEGETATION, CAR, POLE, SIGN, PEDESTRIAN, CYCLIST) = range(
    len(CLASSES)
)

NEAR = 1.2  # metres; nothing closer to the camera is painted
FAR = 1e4  # depth of the sky
SUBPIXEL_BITS = 4  # cv2 takes polygon corners in sixteenths of a pixel
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 12, endpoint=False)) for f in (np.cos, np.sin)])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with a level horizon; `focal`, `centre` and `horizon` are in pixels."""

    width: int
    height: int
    focal: float
    eye: float
    centre: float
    horizon: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project world points (..., 3) to pixels (..., 2)."""
        x, y, z = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        scale = self.focal / np.maximum(z, NEAR)
        return np.stack([self.centre + x * scale, self.horizon + (self.eye - y) * scale], axis=-1)

    def ground(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return first row below the horizon and (x, z) of the ground at each pixel from there."""
        top = int(np.floor(self.horizon)) + 1
        rows = np.arange(top, self.height, dtype=np.float32)[:, None] + 0.5
        columns = np.arange(self.width, dtype=np.float32)[None] + 0.5
        z = self.focal * self.eye / (rows - self.horizon)
        return (
            top,
            (columns - self.centre) * z / self.focal,
            np.broadcast_to(z, (len(rows), self.width)),
        )


@dataclass(frozen=True)
class Light:
    """Sun and sky: `direction` points to the sun, `haze_range` is in metres."""

    direction: np.ndarray
    sun: np.ndarray
    ambient: np.ndarray
    haze: np.ndarray
    haze_range: float

    def on(self, normal) -> np.ndarray:
        """Colour of the light on a surface with this normal."""
        return self.ambient + self.sun * max(0.0, float(np.dot(normal, self.direction)))

    def shadow_shift(self) -> np.ndarray:
        """Ground displacement (x, z) of the shadow of a point one metre high."""
        x, y, z = self.direction
        return -np.array([x, z]) / max(y, 0.12)


@dataclass
class Canvas:
    """The picture, its labels and its depth, painted back to front."""

    camera: Camera
    light: Light
    rng: np.random.Generator
    image: np.ndarray = field(init=False)
    label: np.ndarray = field(init=False)
    depth: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = self.camera.height, self.camera.width
        self.image = np.zeros((*shape, 3), np.float32)
        self.label = np.zeros(shape, np.uint8)
        self.depth = np.full(shape, FAR, np.float32)

    def fill(self, pixels: np.ndarray, colour, label: int, depth: float) -> None:
        """Fill a polygon given by its corners (n, 2) in pixels."""
        corners = fixed_point(pixels)
        for plane, value in ((self.image, colour), (self.label, label), (self.depth, depth)):
            cv2.fillPoly(plane, [corners], _scalar(value), shift=SUBPIXEL_BITS)

    def face(self, points: np.ndarray, albedo, label: int, normal=(0, 0, -1)) -> None:
        """Fill a lit polygon given by its corners (n, 3) in the world."""
        points = np.asarray(points, dtype=np.float64)
        if points[:, 2].max() > NEAR:
            self.fill(
                self.camera.project(points),
                np.asarray(albedo) * self.light.on(normal),
                label,
                float(np.maximum(points[:, 2], NEAR).mean()),
            )

    def blob(self, centre, radii, colour, label: int) -> None:
        """Fill an unlit ellipse at a world point; `radii` (across, up) in metres."""
        self.blobs(np.array([centre]), np.array([radii]), np.array([colour]), label, np.zeros(1))

    def blobs(self, centres, radii, colours, label: int, angles) -> None:
        """Fill unlit ellipses (n) of one label and depth, the first at the back."""
        depth = max(float(centres[0, 2]), NEAR)
        across, up = radii[:, :1] * _CIRCLE[0], radii[:, 1:] * _CIRCLE[1]
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        outline = np.stack([across * cos - up * sin, across * sin + up * cos], axis=-1)
        pixels = self.camera.project(centres)[:, None] + outline * self.camera.focal / depth
        for corners, colour in zip(fixed_point(pixels), colours.tolist(), strict=True):
            for plane, value in ((self.image, colour), (self.label, label), (self.depth, depth)):
                cv2.fillConvexPoly(plane, corners, value, shift=SUBPIXEL_BITS)

    def limb(self, start, end, widths, colour, label: int) -> None:
        """Fill a tapered unlit stroke between two world points; `widths` in metres."""
        pixels = self.camera.project(np.array([start, end]))
        along = pixels[1] - pixels[0]
        across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
        half = 0.5 * self.camera.focal * np.asarray(widths) / max(float(start[2]), NEAR)
        self.fill(
            np.stack(
                [
                    pixels[0] + across * half[0],
                    pixels[1] + across * half[1],
                    pixels[1] - across * half[1],
                    pixels[0] - across * half[0],
                ]
            ),
            colour,
            label,
            float(start[2]),
        )

    def shade(self, factor: np.ndarray, top: int) -> None:
        """Multiply the rows from `top` by `factor` (rows, width)."""
        self.image[top:] *= factor[..., None]


def fixed_point(pixels: np.ndarray) -> np.ndarray:
    """Corners in pixels to the fixed-point integers that cv2 draws with."""
    bounded = np.clip(np.asarray(pixels, dtype=np.float64), -4000, 4000)
    return np.round((bounded - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3
) -> np.ndarray:
    """Noise of mean 0 and about unit range: `octaves` halvings of a grid of `cell` pixels."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        size = max(2, int(shape[1] / cell * 2**octave)), max(2, int(shape[0] / cell * 2**octave))
        grid = rng.uniform(-1, 1, (size[1], size[0])).astype(np.float32)
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total


def _scalar(value) -> tuple[float, ...]:
    return tuple(float(v) for v in np.atleast_1d(value))
