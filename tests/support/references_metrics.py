"""Slow oracles in float64 for the metrics: one pixel, one class, one bin at a time."""

import math

import numpy as np


def softmax(row):
    peak = max(row)
    weights = [math.exp(value - peak) for value in row]
    return [weight / sum(weights) for weight in weights]


def rows_of(logits, labels, ignore_index=255):
    """(probabilities, label) of each valid pixel of ``logits (N,C,H,W)``, ``labels (N,H,W)``."""
    logits = np.asarray(logits, np.float64)
    for image, height, width in np.ndindex(labels.shape):
        label = int(labels[image, height, width])
        if label == ignore_index:
            continue
        row = logits[image, :, height, width].tolist()
        yield softmax([0.0, *row] if len(row) == 1 else row), label


def calibration(rows, num_bins):
    """Every score of calibration from a list of (probabilities, label)."""
    rows = list(rows)
    num_classes = len(rows[0][0])
    pairs = [[[] for _ in range(num_bins)] for _ in range(num_classes)]
    tops = [[] for _ in range(num_bins)]
    nll = brier = 0.0
    for probs, label in rows:
        for index, prob in enumerate(probs):
            hit = index == label
            pairs[index][_bin(prob, num_bins)].append((prob, hit))
            brier += (prob - hit) ** 2
        best = probs.index(max(probs))
        tops[_bin(probs[best], num_bins)].append((probs[best], best == label))
        nll -= math.log(probs[label])
    pooled = [[cell for one in pairs for cell in one[b]] for b in range(num_bins)]
    return {
        'count': [[len(cell) for cell in one] for one in pairs],
        'positive': [[sum(hit for _, hit in cell) for cell in one] for one in pairs],
        'cal': 1 - 4 / num_bins * sum(_gap(cell) for cell in pooled if cell),
        'ECE': _ece(tops),
        'MCE': max(_gap(cell) for cell in tops if cell),
        'cwECE': sum(_ece(one) for one in pairs) / num_classes,
        'NLL': nll / len(rows),
        'Brier': brier / len(rows),
    }


def _bin(prob, num_bins):
    return min(int(prob * num_bins), num_bins - 1)


def _gap(cell):
    return abs(sum(hit for _, hit in cell) - sum(prob for prob, _ in cell)) / len(cell)


def _ece(cells):
    total = sum(len(cell) for cell in cells)
    return sum(len(cell) / total * _gap(cell) for cell in cells if cell)


def confusion(pred, labels, num_classes, ignore_index=255):
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for guess, label in zip(np.ravel(pred).tolist(), np.ravel(labels).tolist(), strict=True):
        if label != ignore_index:
            matrix[label][guess] += 1
    return matrix


def temperature_nll(rows, temperature):
    """Mean NLL of (logits, label) pairs under a temperature."""
    rows = list(rows)
    return sum(
        -math.log(softmax([value / temperature for value in logits])[label])
        for logits, label in rows
    ) / len(rows)


def per_image(confusions):
    """The scores of Wang et al. 2023 of a list of (C, C) lists, one image and class at a time."""
    images, by_class = [], {}
    for matrix in confusions:
        values = []
        for c in range(len(matrix)):
            union = sum(matrix[c]) + sum(row[c] for row in matrix) - matrix[c][c]
            if union:
                values.append(matrix[c][c] / union)
                by_class.setdefault(c, []).append(values[-1])
        if values:
            images.append(math.fsum(values) / len(values))
    images.sort()
    total = [
        [sum(matrix[a][b] for matrix in confusions) for b in range(len(confusions[0]))]
        for a in range(len(confusions[0]))
    ]
    unions = [sum(row) + sum(r[c] for r in total) - row[c] for c, row in enumerate(total)]
    recalls = [row[c] / sum(row) for c, row in enumerate(total) if sum(row)]

    def mean(values):
        return math.fsum(values) / len(values) if values else math.nan

    def worst(percent):
        return mean(images[: max(1, len(images) * percent // 100)])

    return {
        'mIoU': mean([total[c][c] / union for c, union in enumerate(unions) if union]),
        'mIoU_I': mean(images),
        'mIoU_C': mean([mean(values) for values in by_class.values()]),
        'mIoU_worst10': worst(10),
        'mIoU_worst5': worst(5),
        'mRecall': mean(recalls),
        'acc': (
            sum(total[c][c] for c in range(len(total))) / sum(map(sum, total))
            if sum(map(sum, total))
            else math.nan
        ),
    }
