"""Slow oracles of the boundary metrics: one pixel and its window at a time."""

import numpy as np


def boundary(labels, distance, ignore_index=255):
    """Pixels with another labelled class, or the end of the image, in their window."""
    height, width = labels.shape
    found = np.zeros(labels.shape, bool)
    for y, x in np.argwhere(labels != ignore_index):
        for i in range(y - distance, y + distance + 1):
            for j in range(x - distance, x + distance + 1):
                inside = 0 <= i < height and 0 <= j < width
                if not inside or labels[i, j] not in (labels[y, x], ignore_index):
                    found[y, x] = True
    return found


def boundary_iou(pairs, num_classes, ratio=0.02, ignore_index=255):
    """Per class, over the boundary pixels of all (prediction, label) pairs."""
    both, union = np.zeros(num_classes), np.zeros(num_classes)
    for pred, labels in pairs:
        distance = max(1, round(ratio * np.sqrt(np.square(labels.shape).sum())))
        pred = np.where(labels == ignore_index, ignore_index, pred)
        of_pred = boundary(pred, distance, ignore_index)
        of_label = boundary(labels, distance, ignore_index)
        for c in range(num_classes):
            first, second = of_pred & (pred == c), of_label & (labels == c)
            both[c] += (first & second).sum()
            union[c] += (first | second).sum()
    return np.array([b / u if u else np.nan for b, u in zip(both, union, strict=True)])


def thinned(mask):
    """Zhang & Suen 1984: peel pixels off from two sides in turn while the rest stays connected."""
    mask = np.pad(np.asarray(mask, int), 1)
    while True:
        before = mask.sum()
        for side in (0, 1):
            gone = []
            for y, x in np.argwhere(mask):
                ring = [
                    mask[y + i, x + j]
                    for i, j in (
                        (-1, 0),
                        (-1, 1),
                        (0, 1),
                        (1, 1),
                        (1, 0),
                        (1, -1),
                        (0, -1),
                        (-1, -1),
                    )
                ]
                north, east, south, west = ring[0], ring[2], ring[4], ring[6]
                rises = sum(
                    a == 0 and b == 1 for a, b in zip(ring, ring[1:] + ring[:1], strict=True)
                )
                if side == 0:
                    open_sides = north * east * south == 0 and east * south * west == 0
                else:
                    open_sides = north * east * west == 0 and north * south * west == 0
                if 2 <= sum(ring) <= 6 and rises == 1 and open_sides:
                    gone.append((y, x))
            for y, x in gone:
                mask[y, x] = 0
        if mask.sum() == before:
            return mask[1:-1, 1:-1].astype(bool)


def centerline_dice(pred, labels, skeleton):
    lines, own = skeleton(pred), skeleton(labels)
    if not lines.any() and not own.any():
        return np.nan
    precision = labels[lines].mean() if lines.any() else 0.0
    sensitivity = pred[own].mean() if own.any() else 0.0
    both = precision + sensitivity
    return 2 * precision * sensitivity / both if both else 0.0
