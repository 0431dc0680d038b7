"""Slow oracles in float64: formulas over lists of pixels, sharing no code with what they check.

Each takes ``logits (N, C, H, W)`` and ``labels (N, H, W)`` as numpy arrays.
"""

import numpy as np


def pixels_of(logits, labels, ignore_index=255):
    """The valid pixels as (probabilities (P, C), labels (P,)); one channel becomes two classes."""
    logits = np.asarray(logits, dtype=np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    rows = np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1])
    flat = np.asarray(labels).reshape(-1)
    rows, flat = rows[flat != ignore_index], flat[flat != ignore_index]
    rows = np.exp(rows - rows.max(1, keepdims=True, initial=-np.inf))
    return rows / rows.sum(1, keepdims=True), flat


def nll(logits, labels, ignore_index=255):
    probs, labels = pixels_of(logits, labels, ignore_index)
    return np.array([-np.log(p[y]) for p, y in zip(probs, labels, strict=True)]), labels


def _weighted_mean(losses, labels, class_weight):
    weights = np.ones(len(labels)) if class_weight is None else np.asarray(class_weight)[labels]
    return (losses * weights).sum() / weights.sum() if weights.sum() > 0 else 0.0


def weighted_cross_entropy(logits, labels, class_weight=None, label_smoothing=0.0, **kwargs):
    losses, flat = nll(logits, labels, **kwargs)
    if not label_smoothing:
        return _weighted_mean(losses, flat, class_weight)
    probs, _ = pixels_of(logits, labels, **kwargs)
    classes = probs.shape[1]
    weights = np.ones(classes) if class_weight is None else np.asarray(class_weight)
    total = 0.0
    for p, y in zip(probs, flat, strict=True):
        total += (1 - label_smoothing) * weights[y] * -np.log(p[y])
        total += label_smoothing / classes * (weights * -np.log(p)).sum()
    return total / weights[flat].sum() if len(flat) else 0.0


def softmax_focal(logits, labels, class_weight=None, gamma=2.0, **kwargs):
    losses, flat = nll(logits, labels, **kwargs)
    return _weighted_mean((1 - np.exp(-losses)) ** gamma * losses, flat, class_weight)


def ohem_cross_entropy(logits, labels, class_weight=None, keep_ratio=0.7, **kwargs):
    losses, flat = nll(logits, labels, **kwargs)
    if not len(flat):
        return 0.0
    if class_weight is not None:
        losses = losses * np.asarray(class_weight)[flat]
    kept = max(keep_ratio * len(flat), 1)
    total, left = 0.0, kept
    for loss in sorted(losses, reverse=True):
        total += min(left, 1) * loss
        left -= min(left, 1)
    return total / kept


def recall(logits, labels, class_weight=None, **kwargs):
    probs, flat = pixels_of(logits, labels, **kwargs)
    losses, _ = nll(logits, labels, **kwargs)
    missed = np.zeros(probs.shape[1])
    for c in set(flat.tolist()):
        rows = probs[flat == c]
        missed[c] = 1 - np.mean([row[c] >= row.max() for row in rows])
    return _weighted_mean(losses * missed[flat], flat, class_weight)


def lmp(logits, labels, p=1.3, ratio=0.25, pool='image', class_weight=None, **kwargs):
    if pool == 'image':
        values = [
            lmp(logits[i : i + 1], labels[i : i + 1], p, ratio, 'batch', class_weight, **kwargs)
            for i in range(len(labels))
            if (labels[i] != 255).any()
        ]
        return np.mean(values) if values else 0.0
    losses, flat = nll(logits, labels, **kwargs)
    if not len(flat):
        return 0.0
    if class_weight is not None:
        losses = losses * np.asarray(class_weight)[flat]
    if p == 1:
        return ohem_cross_entropy(logits, labels, class_weight, ratio, **kwargs)
    n, m, q = len(losses), max(ratio * len(losses), 1), p / (p - 1)
    tau = n ** (-1 / q) * m ** (-1 / p)
    low, high = 0.0, losses.max()
    for _ in range(200):  # bisection on sum(min(l, a)^q) = m a^q, for l/a so that nothing overflows
        alpha = (low + high) / 2
        excess = (np.minimum(losses / alpha, 1) ** q).sum() - m
        low, high = (alpha, high) if excess > 0 else (low, alpha)
    weights = tau * np.minimum(losses / alpha, 1) ** (q - 1)
    return (weights * losses).sum()


def _overlaps(logits, labels, power=1, ignore_index=255):
    probs, flat = pixels_of(logits, labels, ignore_index)
    classes = probs.shape[1]
    hot = np.eye(classes)[flat]
    return (hot * probs).sum(0), (probs**power).sum(0), hot.sum(0)


def _over_images(loss, logits, labels, over, **kwargs):
    """The loss of the whole batch, or its mean over the images that have a valid pixel."""
    ignore_index = kwargs.get('ignore_index', 255)
    if over == 'batch':
        return loss(logits, labels, **kwargs) if (labels != ignore_index).any() else 0.0
    values = [
        loss(logits[i : i + 1], labels[i : i + 1], **kwargs)
        for i in range(len(labels))
        if (labels[i] != ignore_index).any()
    ]
    return np.mean(values) if values else 0.0


def _mean_over_classes(losses, target, class_weight, classes):
    weights = np.ones(len(target)) if class_weight is None else np.asarray(class_weight)
    losses = np.where(target > 0, losses, 0.0)
    counted = weights if classes == 'all' else weights * (target > 0)
    return (losses * counted).sum() / counted.sum() if counted.sum() > 0 else 0.0


def soft_dice(
    logits,
    labels,
    over='batch',
    average='macro',
    power=2,
    smooth=0.0,
    eps=0.0,
    classes='present',
    class_weight=None,
    **kwargs,
):

    def loss(logits, labels, **kwargs):
        i, p, t = _overlaps(logits, labels, power, **kwargs)
        if average == 'micro':
            w = np.ones(len(t)) if class_weight is None else np.asarray(class_weight)
            return 1 - 2 * ((w * i).sum() + smooth) / ((w * (p + t)).sum() + smooth + eps)
        dice = (2 * i + smooth) / (p + t + smooth + eps)
        return _mean_over_classes(1 - dice, t, class_weight, classes)

    return _over_images(loss, logits, labels, over, **kwargs)


def soft_iou(
    logits,
    labels,
    over='batch',
    average='macro',
    power=1,
    smooth=0.0,
    eps=0.0,
    classes='present',
    class_weight=None,
    **kwargs,
):

    def loss(logits, labels, **kwargs):
        i, p, t = _overlaps(logits, labels, power, **kwargs)
        if average == 'micro':
            w = np.ones(len(t)) if class_weight is None else np.asarray(class_weight)
            return 1 - ((w * i).sum() + smooth) / ((w * (p + t - i)).sum() + smooth + eps)
        iou = (i + smooth) / (p + t - i + smooth + eps)
        return _mean_over_classes(1 - iou, t, class_weight, classes)

    return _over_images(loss, logits, labels, over, **kwargs)


def soft_tversky(
    logits,
    labels,
    over='batch',
    alpha=0.3,
    beta=0.7,
    gamma=1.0,
    smooth=0.0,
    eps=0.0,
    classes='present',
    class_weight=None,
    **kwargs,
):

    def loss(logits, labels, **kwargs):
        i, p, t = _overlaps(logits, labels, 1, **kwargs)
        index = (i + smooth) / (i + alpha * (p - i) + beta * (t - i) + smooth + eps)
        return _mean_over_classes((1 - index) ** gamma, t, class_weight, classes)

    return _over_images(loss, logits, labels, over, **kwargs)


def generalized_dice(
    logits, labels, over='batch', smooth=0.0, eps=0.0, class_weight=None, **kwargs
):

    def loss(logits, labels, **kwargs):
        i, p, t = _overlaps(logits, labels, 1, **kwargs)
        w = np.array([1 / n**2 if n else 0.0 for n in t])
        w = w if class_weight is None else w * np.asarray(class_weight)
        return 1 - 2 * ((w * i).sum() + smooth) / ((w * (p + t)).sum() + smooth + eps)

    return _over_images(loss, logits, labels, over, **kwargs)


def lovasz_softmax(logits, labels, over='batch', classes='present', class_weight=None, **kwargs):

    def loss(logits, labels, **kwargs):
        probs, flat = pixels_of(logits, labels, **kwargs)
        losses = np.array(
            [_lovasz(np.abs((flat == c) - probs[:, c]), flat == c) for c in range(probs.shape[1])]
        )
        target = np.bincount(flat, minlength=probs.shape[1])
        counted = np.ones(len(target)) if classes == 'all' else (target > 0)
        weights = counted if class_weight is None else counted * np.asarray(class_weight)
        return (losses * weights).sum() / weights.sum()

    return _over_images(loss, logits, labels, over, **kwargs)


def _lovasz(errors, truth):
    """Berman et al. 2018, equation 9, by the Jaccard loss of growing sets of mistakes."""
    order = np.argsort(-errors, kind='stable')
    total, before = 0.0, 0.0
    inter, union = truth.sum(), truth.sum()
    for x in order:
        inter, union = inter - truth[x], union + (not truth[x])
        jaccard = 1 - inter / union
        total += errors[x] * (jaccard - before)
        before = jaccard
    return total


def _as_two_classes(logits):
    logits = np.asarray(logits, dtype=np.float64)
    return logits if logits.shape[1] > 1 else np.concatenate([0 * logits, logits], axis=1)


def ldam(logits, labels, pixels, max_margin=0.5, scale=30.0, class_weight=None, ignore_index=255):
    logits = _as_two_classes(logits).copy() * scale
    margins = max_margin * (min(pixels) / np.asarray(pixels, dtype=np.float64)) ** 0.25
    for n, y, x in np.argwhere(np.asarray(labels) != ignore_index):
        logits[n, labels[n, y, x], y, x] -= scale * margins[labels[n, y, x]]
    return weighted_cross_entropy(logits, labels, class_weight, ignore_index=ignore_index)


def logit_adjusted(logits, labels, pixels, tau=1.0, class_weight=None, **kwargs):
    priors = np.asarray(pixels, dtype=np.float64) / sum(pixels)
    logits = _as_two_classes(logits) + tau * np.log(priors)[None, :, None, None]
    return weighted_cross_entropy(logits, labels, class_weight, **kwargs)
