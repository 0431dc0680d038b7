"""Pixels of many images that fit in memory, to fit a logit map on."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Logits kept of all images together: 16 MB. More pixels say little more, images do.
MAX_ELEMENTS = 2**22


@dataclass(frozen=True)
class PixelSample:
    """Logits ``(P, C)`` float32, labels ``(P,)`` and the image that each pixel is of ``(P,)``."""

    logits: Tensor
    labels: Tensor
    image: np.ndarray

    def of(self, chosen: np.ndarray) -> 'PixelSample':
        """The pixels where ``chosen (P,)`` is true."""
        mask = torch.from_numpy(chosen)
        return PixelSample(self.logits[mask], self.labels[mask], self.image[chosen])


def draw_pixels(
    images: Iterable[tuple[Tensor, Tensor]],
    names: np.ndarray,
    ignore_index: int,
    max_elements: int = MAX_ELEMENTS,
) -> PixelSample:
    """Draw equally many valid pixels of every image, all where they are few.

    Convention: the same images give the same pixels.

    Args:
        images: Logits ``(1, C, H, W)`` and labels ``(1, H, W)`` of each image.
        names: ``(images,)`` the number that ``PixelSample.image`` gets for each.
        ignore_index: Label of the pixels to leave out.
        max_elements: Most logits to keep.

    Raises:
        ValueError: no image has a valid pixel.

    Example:
        >>> image = torch.zeros(1, 2, 4, 4), torch.tensor([[[0, 1, 1, 255]] * 4])[0]
        >>> draw_pixels([image], np.array([7]), 255, max_elements=12).image
        array([7, 7, 7, 7, 7, 7])
    """
    generator = torch.Generator().manual_seed(0)
    logits, labels, owners = [], [], []
    for name, (image, label) in zip(names, images, strict=True):
        valid = (label.flatten() != ignore_index).nonzero()[:, 0]
        most = max(max_elements // (len(names) * image.shape[1]), 1)
        if len(valid) > most:
            drawn = torch.randperm(len(valid), generator=generator)[:most]
            valid = valid[drawn.sort()[0].to(valid.device)]
        logits.append(image[0].flatten(1)[:, valid].T.float().cpu())
        labels.append(label.flatten()[valid].long().cpu())
        owners.append(np.full(len(valid), name))
    if not sum(len(part) for part in labels):
        raise ValueError('the images to fit on have no labelled pixel: look at ignore_index.')
    return PixelSample(torch.cat(logits), torch.cat(labels), np.concatenate(owners))
