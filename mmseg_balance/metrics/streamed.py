"""What the metrics share: sums over a data set in constant memory, exact on any number of ranks."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

FOLDED = 0


class StreamedMetric(BaseMetric):
    """A metric that is a function of sums over images.

    MMEngine interleaves the ranks' ``results`` and cuts them to the size of the data set, which
    removes the images that the sampler repeated to give every rank as many. Such repeats are the
    last image of a rank. So there is one entry per image as MMEngine expects, but only two of them
    hold anything: the first has the sums over all images but the last, and the last its own. The
    others are the integer ``FOLDED``. Memory does not grow with the images, and cutting off a
    repeated last image removes its sums exactly.

    A subclass says what an image adds, as a tuple of things with ``+``, and what the totals mean.
    """

    @abstractmethod
    def image_sums(self, data_sample: dict) -> tuple:
        """What one image adds."""

    @abstractmethod
    def scores(self, *totals) -> dict[str, float]:
        """The metrics of the sums over all images; runs on the main rank only."""

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add the images of a batch."""
        for data_sample in data_samples:
            if len(self.results) > 1:
                self.results[0] = _pooled(self.results[0], self.results[-1])
                self.results[-1] = FOLDED
            self.results.append((1, *self.image_sums(data_sample)))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Pool the entries of all ranks."""
        entries = [entry for entry in results if entry != FOLDED]
        if not entries:
            return {}
        pooled = entries[0]
        for entry in entries[1:]:
            pooled = _pooled(pooled, entry)
        images, *totals = pooled
        if images != len(results):
            print_log(
                f'{type(self).__name__} counted {images} images of a data set of {len(results)}; '
                'the sampler repeats more than one image per rank: use DefaultSampler for tests.',
                logger='current',
                level=logging.WARNING,
            )
        return self.scores(*totals)


def _pooled(first: tuple, second: tuple) -> tuple:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def pixel_map(data_sample: dict, name: str, remedy: str) -> Tensor:
    """The tensor of a field of a data sample, or a ``KeyError`` that says what is missing."""
    if name not in data_sample:
        where = data_sample.get('img_path', 'this image')
        raise KeyError(f'{name} is missing from the data sample of {where}: {remedy}')
    return data_sample[name]['data']


def labels_and_prediction(data_sample: dict) -> tuple[Tensor, Tensor]:
    """Label and predicted class of each pixel, ``(H, W)`` both, on the prediction's device."""
    labels = pixel_map(
        data_sample,
        'gt_sem_seg',
        "the pipeline needs dict(type='LoadAnnotations') after Resize, and labels in the data set.",
    )
    pred = pixel_map(
        data_sample, 'pred_sem_seg', 'evaluate a segmentor, whose predict mode fills it in.'
    )
    labels = labels.to(pred.device)
    return labels.reshape(labels.shape[-2:]), pred.reshape(pred.shape[-2:]).long()


def class_indices(members: Sequence[int | str], names: list[str], argument: str) -> list[int]:
    """Indices of the classes that a config names, or gives by their index.

    Args:
        members: names or indices, each class once.
        names: of the data set's classes.
        argument: where it stands in the config, for the error.

    Raises:
        ValueError: one is neither a class nor an index of one, or is there twice.

    Example:
        >>> class_indices(['pole', 0], ['road', 'pole'], 'thin_classes')
        [1, 0]
    """
    found = [_class_index(member, names, argument) for member in members]
    twice = [names[c] for c in found if found.count(c) > 1]
    if twice:
        raise ValueError(f'{argument} holds {twice[0]} twice; name each class once.')
    return found


def _class_index(member: int | str, names: list[str], argument: str) -> int:
    if isinstance(member, str) and member in names:
        return names.index(member)
    if not isinstance(member, str) and 0 <= member < len(names):
        return int(member)
    raise ValueError(
        f'{argument} holds {member!r}, neither a class nor an index below {len(names)}; '
        f'the classes are {", ".join(names)}.'
    )
