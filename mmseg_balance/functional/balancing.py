"""Which images make a balanced batch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BalancedBatch:
    """A batch, how many classes its images have together, and how many tries it took.

    ``complete`` tells whether it has as many classes as were asked for; if not, it is the best
    of all that were tried.
    """

    images: tuple[int, ...]
    num_classes: int
    discarded: int
    complete: bool


def select_balanced_batch(
    indptr: np.ndarray,
    indices: np.ndarray,
    candidates: Iterator[int],
    batch_size: int,
    min_classes: int,
    *,
    fill: bool = True,
    min_images: int = 1,
    max_tries: int = 1000,
    patience: int = 1000,
    pool_size: int | None = None,
) -> BalancedBatch:
    """Take candidates that bring a class which the batch lacks, until it has ``min_classes``.

    A batch that is full with fewer classes is discarded and chosen again from the candidates that
    follow (Huang's section II.C and algorithm 1, with ``batch_max`` = ``batch_size`` and
    ``batch_cl`` = ``min_classes``).

    Convention:
        - ``fill=False`` is the paper's algorithm: the batch ends as soon as it has the classes,
          so it may hold fewer images than ``batch_size``, a single one too;
        - ``fill=True`` tops it up to ``batch_size``, ``fill=False`` to ``min_images``,
          with the candidates that follow, whatever they hold;
        - no image comes twice in a batch;
        - ``patience`` candidates in a row without a new class also end a try; where that is every
          candidate there is (``pool_size``), no other try can do better and none is made.

    Args:
        indptr, indices: classes of image i are ``indices[indptr[i]:indptr[i + 1]]``.
        candidates: endless iterator over images in random order.
        batch_size: most images in a batch, or their number with ``fill``.
        min_classes: least number of classes in the batch.
        fill: whether to top up to ``batch_size``.
        min_images: least number of images in the batch, at most ``batch_size``.
        max_tries: tries before giving up.
        patience: candidates without a new class before a try is given up.
        pool_size: number of different candidates, if each comes once in every ``pool_size``.

    >>> indptr, indices = np.array([0, 2, 3, 4]), np.array([0, 1, 1, 2])
    >>> select_balanced_batch(indptr, indices, iter([1, 0, 2]), 2, 3, max_tries=1).complete
    False
    >>> select_balanced_batch(indptr, indices, iter([1, 0, 2, 0]), 2, 3, max_tries=2).images
    (2, 0)

    Reference: Huang et al., *Balance-batch: an optimized method for semantic segmentation loss
    functions*, 2020.
    """
    # Wherever one starts, each of the pool comes at least once in twice its size.
    everyone = 2 * pool_size if pool_size else math.inf
    least = batch_size if fill else min_images
    best, most = [], -1
    for discarded in range(max_tries):
        batch, held, idle = _one_try(
            indptr, indices, candidates, batch_size, min_classes, min(patience, everyone)
        )
        if len(held) >= min_classes:
            _top_up(batch, held, indptr, indices, candidates, least, patience)
            return BalancedBatch(tuple(batch), len(held), discarded, complete=True)
        if len(held) > most:
            best, most = batch, len(held)
        if idle >= everyone:
            break
    return BalancedBatch(tuple(best), most, discarded + 1, complete=False)


def _one_try(
    indptr: np.ndarray,
    indices: np.ndarray,
    candidates: Iterator[int],
    batch_size: int,
    min_classes: int,
    patience: int,
) -> tuple[list[int], set[int], int]:
    batch: list[int] = []
    held: set[int] = set()
    idle = 0
    for image in candidates:
        # Rows are short: a Python set is several times faster here than any NumPy operation.
        row = indices[indptr[image] : indptr[image + 1]].tolist()
        if held.issuperset(row):
            idle += 1
            if idle >= patience:
                break
            continue
        idle = 0
        batch.append(image)
        held.update(row)
        if len(held) >= min_classes or len(batch) >= batch_size:
            break
    return batch, held, idle


def _top_up(
    batch: list[int],
    held: set[int],
    indptr: np.ndarray,
    indices: np.ndarray,
    candidates: Iterator[int],
    least: int,
    patience: int,
) -> None:
    repeated = 0
    while len(batch) < least:
        image = next(candidates)
        # Fewer images than the batch holds: better one twice than never an end.
        if image in batch and repeated < patience:
            repeated += 1
            continue
        batch.append(image)
        held.update(indices[indptr[image] : indptr[image + 1]].tolist())


def most_classes_possible(indptr: np.ndarray, images_per_class: np.ndarray, batch_size: int) -> int:
    """Bound on how many classes ``batch_size`` images can have together.

    >>> most_classes_possible(np.array([0, 2, 3, 4]), np.array([1, 2, 1]), batch_size=2)
    3
    """
    sizes = np.diff(indptr)
    size = min(batch_size, len(sizes))
    largest = np.partition(sizes, len(sizes) - size)[len(sizes) - size :].sum() if size else 0
    return int(min(np.count_nonzero(images_per_class), largest))
