"""Connected regions of a class: found in one image, pasted into another."""

from dataclasses import dataclass

import cv2
import numpy as np

RESIZABLE = ('uint8', 'uint16', 'int16', 'float32', 'float64')  # what OpenCV resizes
MOST_CHANNELS = 4  # that OpenCV shrinks at a time


@dataclass(frozen=True)
class Region:
    """A connected region of one class.

    ``image`` (h, w) or (h, w, channels) is the rectangle around it, ``mask`` (h, w) bool which pixels of it belong
    to the region, ``foot`` (row, column) where the middle of the rectangle's lower edge was, as
    shares of the image's size: what stands on the ground, stands there at any scale.
    """

    image: np.ndarray
    mask: np.ndarray
    foot: tuple[float, float]

    @property
    def num_pixels(self) -> int:
        return int(np.count_nonzero(self.mask))

    def resized(self, scale: float, mirrored: bool = False) -> 'Region':
        """Scale both sides by a factor and mirror it, if asked to."""
        height, width = self.mask.shape
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = resized_image(self.image, size, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        # A share of the area rather than the nearest pixel: thin parts keep their outline.
        share = cv2.resize(self.mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        mask = share >= 0.5
        if mirrored:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return Region(image, mask, self.foot)


def resized_image(image: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    """``cv2.resize`` of an image with any number of channels.

    Args:
        image: (H, W) or (H, W, channels).
        size: (width, height) of the result.
        interpolation: OpenCV's number of it.

    Raises:
        ValueError: a dtype that OpenCV does not resize.
    """
    if image.dtype not in RESIZABLE:
        raise ValueError(
            f'img has dtype {image.dtype} and can be resized in {", ".join(RESIZABLE)}: load it in '
            'one of these, as LoadImageFromFile(to_float32=True) does'
        )
    layers = image.reshape(*image.shape[:2], -1)
    parts = [
        cv2.resize(layers[..., first : first + MOST_CHANNELS], size, interpolation=interpolation)
        for first in range(0, layers.shape[2], MOST_CHANNELS)
    ]
    # OpenCV drops a channel of 1.
    return np.dstack(parts).reshape(*size[::-1], *image.shape[2:])


def find_regions(
    image: np.ndarray, labels: np.ndarray, wanted: int, min_pixels: int
) -> list[Region]:
    """Cut out every connected region (8 neighbours) of a class with at least ``min_pixels``.

    Args:
        image: (H, W) or (H, W, channels).
        labels: (H, W).
        wanted: the class.
        min_pixels: smaller regions are left out.
    """
    number, names, found, _ = cv2.connectedComponentsWithStats(
        (labels == wanted).astype(np.uint8), connectivity=8
    )
    regions = []
    for k in range(1, number):
        left, top, width, height, pixels = found[k]
        if pixels >= min_pixels:
            window = slice(top, top + height), slice(left, left + width)
            foot = (top + height) / labels.shape[0], (left + width / 2) / labels.shape[1]
            regions.append(Region(image[window], names[window] == k, foot))
    return regions


def paste_region(
    image: np.ndarray,
    labels: np.ndarray,
    region: Region,
    wanted: int,
    foot: tuple[float, float],
    covers: np.ndarray,
    min_visible: float,
) -> int:
    """Paste a region in place, where it may cover what is there.

    Convention: all or nothing: if less than ``min_visible`` of the region would be seen (the rest
    is outside or behind what it may not cover), nothing is changed.

    Args:
        image: (H, W) or (H, W, channels), changed.
        labels: (H, W), changed.
        region: what to paste.
        wanted: its class.
        foot: (row, column) of the middle of its lower edge, in pixels; may be outside.
        covers: (V,) bool, whether a pixel with this label may be covered.
        min_visible: share of the region's pixels that must be seen, in [0, 1].

    Returns:
        How many pixels were pasted.
    """
    height, width = region.mask.shape
    top, left = round(foot[0] - height), round(foot[1] - width / 2)
    rows = slice(max(top, 0), min(top + height, labels.shape[0]))
    columns = slice(max(left, 0), min(left + width, labels.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return 0
    part = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    seen = region.mask[part] & covers[labels[rows, columns]]
    pixels = int(np.count_nonzero(seen))
    if pixels == 0 or pixels < min_visible * region.num_pixels:
        return 0
    image[rows, columns][seen] = region.image[part][seen]
    labels[rows, columns][seen] = wanted
    return pixels
