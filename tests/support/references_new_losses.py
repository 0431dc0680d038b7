"""Slow oracles in float64 of the newer losses, sharing no code with what they check.

Each takes ``logits (N, C, H, W)`` and ``labels (N, H, W)`` as numpy arrays.
"""

import math

import numpy as np
import torch
from scipy.stats import halfnorm

from tests.support.references import (
    _as_two_classes,
    _weighted_mean,
    pixels_of,
    weighted_cross_entropy,
)

NOISE_SEED = 7


def balanced_variation(
    logits, labels, pixels, sigma=4.0, bound=1.0, class_weight=None, ignore_index=255
):
    """With the noise that the default generator draws from NOISE_SEED on, byte by byte."""
    logits = _as_two_classes(logits)
    torch.manual_seed(NOISE_SEED)
    words = torch.randint(-(2**63), 2**63 - 1, (math.ceil(logits.size / 8),)).numpy()
    drawn = np.array([byte for word in words for byte in word.tobytes()][: logits.size])
    noise = np.minimum(halfnorm.ppf((drawn + 0.5) / 256, scale=sigma), bound).astype(np.float32)
    rarity = math.log(max(pixels)) - np.log(pixels)
    scale = rarity / rarity.max() if rarity.max() else rarity
    noisy = logits + noise.reshape(logits.shape) * scale[None, :, None, None]
    return weighted_cross_entropy(noisy, labels, class_weight, ignore_index=ignore_index)


def softmax_seesaw(logits, labels, pixels, p=0.8, q=2.0, class_weight=None, ignore_index=255):
    probs, flat = pixels_of(logits, labels, ignore_index)
    losses = []
    for prob, y in zip(probs, flat, strict=True):
        below = 0.0
        for c in range(len(prob)):
            mitigation = (pixels[c] / pixels[y]) ** p if pixels[c] < pixels[y] else 1.0
            compensation = (prob[c] / prob[y]) ** q if prob[c] > prob[y] else 1.0
            below += prob[c] * (1.0 if c == y else mitigation * compensation)
        losses.append(-math.log(prob[y] / below))
    return _weighted_mean(np.array(losses), flat, class_weight)


def region_size(logits, labels, over='image', classes='all', class_weight=None, ignore_index=255):
    if over == 'image':
        values = [
            region_size(logits[i : i + 1], labels[i : i + 1], 'batch', classes, class_weight)
            for i in range(len(labels))
            if (labels[i] != ignore_index).any()
        ]
        return np.mean(values) if values else 0.0
    probs, flat = pixels_of(logits, labels, ignore_index)
    if not len(flat):
        return 0.0
    total, weights = 0.0, 0.0
    for c in range(probs.shape[1]):
        weight = 1.0 if class_weight is None else class_weight[c]
        if classes == 'present' and c not in flat:
            continue
        total += weight * abs(probs[:, c].mean() - (flat == c).mean())
        weights += weight
    return total / weights


def _cross(y, x):
    return [(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]


def _square(y, x):
    return [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def _over_neighbours(values, valid, neighbours, choose):
    """The least or largest value among a pixel's valid neighbours inside the image."""
    height, width = values.shape
    out = np.full(values.shape, np.nan)
    for y, x in np.argwhere(valid):
        out[y, x] = choose(
            values[i, j]
            for i, j in neighbours(y, x)
            if 0 <= i < height and 0 <= j < width and valid[i, j]
        )
    return out


def soft_skeleton(values, valid, iterations):
    """Shit et al. 2021, algorithm 1, over the valid pixels; nan elsewhere."""

    def erode(values):
        return _over_neighbours(values, valid, _cross, min)

    def opened(values):
        return _over_neighbours(erode(values), valid, _square, max)

    skeleton = np.maximum(values - opened(values), 0)
    for _ in range(iterations):
        values = erode(values)
        removed = np.maximum(values - opened(values), 0)
        skeleton = skeleton + (1 - skeleton) * removed
    return skeleton


def centerline_dice(
    logits,
    labels,
    thin_classes,
    iterations=5,
    over='batch',
    smooth=1.0,
    class_weight=None,
    ignore_index=255,
):
    logits = _as_two_classes(logits)
    if over == 'image':
        values = [
            centerline_dice(
                logits[i : i + 1],
                labels[i : i + 1],
                thin_classes,
                iterations,
                'batch',
                smooth,
                class_weight,
                ignore_index,
            )
            for i in range(len(labels))
            if np.isin(labels[i], thin_classes).any()
        ]
        return np.mean(values) if values else 0.0
    total, weights = 0.0, 0.0
    for c in thin_classes:
        if not (labels == c).any():
            continue
        sums = np.zeros(4)
        for scores, truth in zip(logits, labels, strict=True):
            valid = truth != ignore_index
            shifted = np.exp(scores - scores.max(0))
            prob, own = (shifted / shifted.sum(0))[c], (truth == c).astype(float)
            predicted = soft_skeleton(prob, valid, iterations)[valid]
            lines = soft_skeleton(own, valid, iterations)[valid]
            sums += [
                (predicted * own[valid]).sum(),
                predicted.sum(),
                (lines * prob[valid]).sum(),
                lines.sum(),
            ]
        precision = (sums[0] + smooth) / (sums[1] + smooth)
        sensitivity = (sums[2] + smooth) / (sums[3] + smooth)
        weight = 1.0 if class_weight is None else class_weight[c]
        total += weight * (1 - 2 * precision * sensitivity / (precision + sensitivity))
        weights += weight
    return total / weights if weights else 0.0


def over_images_by_class(
    ratio, logits, labels, class_weight=None, classes='present', ignore_index=255
):
    """The mean over classes of each class's mean loss over the images that have it.

    ``ratio(intersection, predicted, target)`` is the loss of a class in an image.
    """
    found = {}
    for scores, truth in zip(logits, labels, strict=True):
        probs, flat = pixels_of(scores[None], truth[None], ignore_index)
        for c in set(flat.tolist()):
            sums = probs[flat == c, c].sum(), probs[:, c], (flat == c).sum()
            found.setdefault(c, []).append(ratio(*sums))
    number = logits.shape[1] if logits.shape[1] > 1 else 2
    weight = np.ones(number) if class_weight is None else np.asarray(class_weight)
    counted = found if classes == 'present' else range(number)
    total = sum(weight[c] * np.mean(losses) for c, losses in found.items())
    return total / sum(weight[c] for c in counted) if found else 0.0


def soft_dice_by_class(logits, labels, power=2, smooth=0.0, over=None, **options):
    return over_images_by_class(
        lambda i, p, t: 1 - (2 * i + smooth) / ((p**power).sum() + t + smooth),
        logits,
        labels,
        **options,
    )


def soft_iou_by_class(logits, labels, over=None, **options):
    return over_images_by_class(
        lambda i, p, t: 1 - i / (p.sum() + t - i), logits, labels, **options
    )


def soft_tversky_by_class(logits, labels, alpha=0.3, beta=0.7, gamma=1.0, over=None, **options):
    return over_images_by_class(
        lambda i, p, t: (1 - i / (i + alpha * (p.sum() - i) + beta * (t - i))) ** gamma,
        logits,
        labels,
        **options,
    )
