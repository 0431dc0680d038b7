"""Bad data and settings that contradict each other, found before the first iteration.

Each check raises :class:`InputError`, whose one sentence names the file or setting, the bad value
and the likely remedy.
"""

import os
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import torch
from mmengine import fileio
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import Tensor, nn

from mmseg_balance.functional.labels import check_label_range
from mmseg_balance.functional.sampling import evenly
from mmseg_balance.runtime.mask_classification import mask_heads
from mmseg_balance.runtime.models import OTHER_CLASSES, decode_heads, head_classes
from mmseg_balance.statistics.label_reader import (
    check_stored,
    class_names,
    find_label_loader,
    is_stock_loader,
    label_path,
    reason_of,
)
from mmseg_balance.statistics.label_scan import unwrap

MAX_FILES_LOOKED_FOR = 100_000
REMOTE = ('http', 's3:', 'petrel:')


class InputError(ValueError):
    """A file or setting that would crash the training or silently spoil it."""


def check_settings(model: nn.Module, dataset, evaluator: Evaluator | None) -> None:
    """Heads, data set, class weights and metrics must mean the same classes and ignored pixels.

    Args:
        model: the segmentor, not wrapped.
        dataset: the training set.
        evaluator: that of the validation, if there is one.

    Raises:
        InputError: the first contradiction.
    """
    for name, head in decode_heads(model):
        if type(head).__name__ not in OTHER_CLASSES:
            _check_classes(name, head, head_classes(head), dataset)
        _check_class_weights(name, head)
        _check_ignored(name, head, evaluator)
        _check_pixel_sampler(name, head)
    for name, head in mask_heads(model):
        _check_classes(name, head, head.num_classes, dataset)
        _check_ignored(name, head, evaluator)


def _check_classes(name: str, head: nn.Module, num_classes: int, dataset) -> None:
    names = dataset.metainfo.get('classes') or ()
    if len(names) == 1 and num_classes > 1:
        raise InputError(
            f'{name} tells {num_classes} classes apart and the data set {type(dataset).__name__} '
            f'names one, {names[0]!r}: name what is around it too, metainfo=dict(classes='
            f"('background', {names[0]!r})), with labels 0 and 1 and num_classes=2"
        )
    if names and num_classes != len(names):
        raise InputError(
            f'{name} has num_classes={head.num_classes} and the data set '
            f'{type(dataset).__name__} {len(names)} classes: set num_classes={len(names)}'
        )


def _check_ignored(name: str, head: nn.Module, evaluator: Evaluator | None) -> None:
    for metric in evaluator.metrics if evaluator else ():
        theirs = getattr(metric, 'ignore_index', head.ignore_index)
        if head.ignore_index is not None and theirs != head.ignore_index:
            raise InputError(
                f'{name} ignores label {head.ignore_index} and {type(metric).__name__} label '
                f'{theirs}: set ignore_index={head.ignore_index} in both'
            )


def _check_pixel_sampler(name: str, head: nn.Module) -> None:
    # The sampler indexes a softmax over the channels with the label.
    if getattr(head.sampler, 'thresh', None) is not None and head.out_channels == 1:
        raise InputError(
            f'{name} has one output channel, and {type(head.sampler).__name__}(thresh='
            f'{head.sampler.thresh}) looks up the probability of label 1 in a second one: leave '
            "thresh out, or use loss_decode=dict(type='OHEMCrossEntropyLoss') without a sampler"
        )


def _check_class_weights(name: str, head: nn.Module) -> None:
    for loss in head.loss_decode.modules():  # also a loss inside another, as LMPLoss has one
        weights = getattr(loss, 'class_weight', None)
        if isinstance(weights, nn.Module):  # our losses keep them as a buffer
            weights = weights.values
        if isinstance(weights, (Sequence, Tensor)) and len(weights) != head_classes(head):
            raise InputError(
                f'class_weight of {type(loss).__name__} in {name} has {len(weights)} numbers and '
                f'the head {head_classes(head)} classes: give one number a class, in their order'
            )


def check_files(dataset, num_images: int | None) -> None:
    """The data set must have images; their files must be there and, for some of them, readable.

    Args:
        dataset: the training set, wrappers such as RepeatDataset included.
        num_images: how many, evenly spread, to read; None reads all. More are read where those have
            no label to train on.

    Raises:
        InputError: the first bad file.
    """
    for part, _ in unwrap(dataset):
        total = len(part)
        if not total:
            raise InputError(
                f'{type(part).__name__} has no image: look at data_root={part.data_root!r}, '
                f'data_prefix={dict(part.data_prefix)}, img_suffix={part.img_suffix!r} and '
                f'ann_file={part.ann_file!r}'
            )
        for index in range(min(total, MAX_FILES_LOOKED_FOR)):
            _check_there(part.get_data_info(index))
        chosen = evenly(total, total if num_images is None else num_images).tolist()
        seen = set().union(*(_labels_of(part, index) for index in chosen))
        if chosen:
            _check_seen(seen, part)


def _check_seen(seen: set[int], dataset) -> None:
    ignore_index = getattr(dataset, 'ignore_index', 255)
    is_binary = len(class_names(dataset)) == 2
    suspicious = seen == {ignore_index} or (is_binary and seen == {0, ignore_index})
    if not suspicious or _has_others(dataset, seen):
        return
    if seen == {ignore_index}:
        raise InputError(
            f'every label that was read from {type(dataset).__name__} is ignored: look at its '
            'reduce_zero_label, label_map and ignore_index'
        )
    raise InputError(
        f'the labels read from {type(dataset).__name__} are 0 or the ignored {ignore_index}, '
        'never 1: masks coded 0/255 are to be divided by 255 first, '
        'and masks coded 0/1 need reduce_zero_label=False'
    )


def _has_others(dataset, seen: set[int]) -> bool:
    """Whether any image has another label than these; all are read until one has."""
    infos = map(dataset.get_data_info, range(len(dataset)))
    maps = (np.asarray(_loaded(dataset, info, 'label map')) for info in infos)
    return any(not np.isin(labels, list(seen)).all() for labels in maps)


def is_absent(path: str) -> bool:
    """Whether a path names a file of this machine that is not there.

    >>> is_absent('no/such.png'), is_absent('s3://no/such.png'), is_absent('')
    (True, False, False)
    """
    return bool(path) and not path.startswith(REMOTE) and not os.path.exists(path)


def _check_there(info: dict) -> None:
    for kind, key in (('image', 'img_path'), ('label map', 'seg_map_path')):
        path = str(info.get(key) or '')
        if is_absent(path):
            raise InputError(
                f'{path}: there is no such {kind}, though its counterpart is listed: '
                'look at the suffixes and folders of the data set'
            )


def _labels_of(dataset, index: int) -> set[int]:
    """The labels of one image as the pipeline's own loaders give them; the image is read too."""
    info = dataset.get_data_info(index)
    path = info.get('seg_map_path') or info.get('img_path') or f'image {index}'
    image = _loaded(dataset, info, 'image')
    if is_stock_loader(find_label_loader(dataset)):
        check_stored(_stored(label_path(info)), path)
    labels = np.asarray(_loaded(dataset, info, 'label map'))
    if labels.ndim != 2:
        raise InputError(
            f'{path}: a label map has one class index a pixel and this one has shape '
            f'{labels.shape}: write the index of the class in place of each colour'
        )
    if image is not None and labels.shape != image.shape[:2]:
        raise InputError(
            f'{path} has {labels.shape[1]}x{labels.shape[0]} pixels and its image '
            f'{image.shape[1]}x{image.shape[0]}: they must be of one size'
        )
    ignore_index = getattr(dataset, 'ignore_index', 255)
    check_labels(torch.as_tensor(labels), len(class_names(dataset)), ignore_index, path)
    return set(np.unique(labels).tolist())


def _loaded(dataset, info: dict, kind: str) -> np.ndarray | None:
    """What the pipeline's loading transform makes of a file; None where it has none for images."""
    image_loaders = [
        step
        for step in getattr(dataset.pipeline, 'transforms', ())
        if type(step).__name__.startswith('Load') and 'Annotation' not in type(step).__name__
    ]
    steps = image_loaders[:1] if kind == 'image' else [find_label_loader(dataset)]
    key = 'img_path' if kind == 'image' else 'seg_map_path'
    info.setdefault('seg_fields', [])
    result = info
    try:
        for step in steps:
            result = step(result)
    except Exception as error:  # decoders raise whatever they like; which file it was counts
        raise InputError(
            f'{info.get(key)}: this {kind} cannot be read ({reason_of(error)}): it may be truncated or of '
            'another format; replace it or leave it out'
        ) from error
    return result.get('img' if kind == 'image' else 'gt_seg_map')


def _stored(path: str) -> np.ndarray:
    try:
        return np.asarray(Image.open(BytesIO(fileio.get(path))))
    except Exception as error:
        raise InputError(
            f'{path}: this label map cannot be read ({reason_of(error)}): it may be truncated or not an '
            'image; replace it or leave it out'
        ) from error


def check_labels(labels: Tensor, num_classes: int, ignore_index: int, name: str) -> None:
    """``check_label_range`` as an :class:`InputError`.

    Raises:
        InputError: labels that are neither a class nor ignored.
    """
    try:
        check_label_range(labels, num_classes, ignore_index, name)
    except ValueError as error:
        raise InputError(str(error)) from None


def check_batch(samples: Sequence[BaseDataElement], num_classes: int, ignore_index: int) -> None:
    """Labels of a batch that is still on the CPU.

    Raises:
        InputError: the first bad label map, by its file.
    """
    for sample in samples:
        if 'gt_sem_seg' in sample:
            check_labels(
                sample.gt_sem_seg.data,
                num_classes,
                ignore_index,
                sample.get('seg_map_path') or sample.get('img_path') or 'a label map',
            )
