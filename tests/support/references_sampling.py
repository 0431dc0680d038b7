"""Slow references for statistics and sampling; nothing here imports mmseg_balance."""

import numpy as np
import torch


def count_labels(labels: np.ndarray, num_classes: int, ignore_index: int) -> tuple[list[int], int]:
    """Pixels of each class and ignored pixels of one label map, pixel by pixel."""
    counts, ignored = [0] * num_classes, 0
    for value in labels.ravel().tolist():
        if value == ignore_index:
            ignored += 1
        else:
            counts[value] += 1
    return counts, ignored


def balance_batch(
    presence: list[set[int]], candidates: list[int], batch_max: int, batch_cl: int, fill: bool
) -> tuple[list[int], int]:
    """Huang's algorithm 1 as a walk over a list: the batch, and how many were discarded."""
    discarded = 0
    position = 0
    while True:
        batch, classes = [], set()
        while len(classes) < batch_cl and len(batch) < batch_max:
            image = candidates[position]
            position += 1
            if presence[image] - classes:
                batch.append(image)
                classes |= presence[image]
        if len(classes) >= batch_cl:
            break
        discarded += 1
    while fill and len(batch) < batch_max:
        if candidates[position] not in batch:
            batch.append(candidates[position])
        position += 1
    return batch, discarded


def confusion(pred: np.ndarray, labels: np.ndarray, num_classes: int, ignore_index: int) -> list:
    """Confusion matrix, rows labels, pixel by pixel."""
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for p, g in zip(pred.ravel().tolist(), labels.ravel().tolist(), strict=True):
        if g != ignore_index:
            matrix[g][p] += 1
    return matrix


def infinite_indices(
    size: int, seed: int, rank: int, world_size: int, start: int, count: int
) -> list[int]:
    """Draws ``start`` to ``start + count`` of an InfiniteSampler's rank, by making all before."""
    generator = torch.Generator().manual_seed(seed)
    sequence = []
    while len(sequence) < rank + (start + count) * world_size:
        sequence += torch.randperm(size, generator=generator).tolist()
    return sequence[rank::world_size][start : start + count]


def repeat_factors(presence: list[set[int]], frequency: list[float], t: float) -> list[float]:
    """LVIS, appendix B.2, image by image: the largest of max(1, sqrt(t / f)) of its classes."""
    return [max([1.0] + [(t / frequency[c]) ** 0.5 for c in image]) for image in presence]


def rcs_probabilities(pixels: list[int], temperature: float) -> list[float]:
    """DAFormer's ``get_rcs_class_probs`` as its paper has it, class by class, in float64."""
    total = sum(pixels)
    scores = [np.exp((1 - p / total) / temperature - 1 / temperature) for p in pixels]
    return [score / sum(scores) for score in scores]
