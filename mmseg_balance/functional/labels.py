"""Small things about labels: a table looked up, sums by label, shapes, the range."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmseg_balance.functional.backend import MAX_CLASSES, is_compiling, kernels_take

MAX_TABLE = 1 << 16  # entries


def label_lookup(table: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """``table[label]`` of each pixel, 0 where ignored.

    Convention:
        - a label that is neither a class nor ignored: NaN.

    Args:
        table: ``(C,)`` one number a class.
        labels: ``(N, H, W)``.
        ignore_index: the label of pixels that do not count.

    Example:
        >>> label_lookup(torch.tensor([1., 3.]), torch.tensor([0, 1, 255, 7]))
        tensor([1., 3., 0., nan])
    """
    table = table if table.is_floating_point() else table.float()  # integers have no NaN
    index, slots, ignored = _slots(labels, len(table), ignore_index)
    longer = table.new_full((slots,), torch.nan)
    longer[1 : len(table) + 1] = table
    longer[ignored : ignored + 1].zero_()  # `= 0` would copy the 0 from the host and synchronise
    # index_select: four times as fast on a CPU as table[…].
    return longer.index_select(0, index.flatten()).view(labels.shape)


def sum_by_label(
    values: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Sum of the pixels' values by image and label, added up in float64.

    Convention:
        - a label that is neither a class nor ignored: all sums of its image are NaN.

    Args:
        values: ``(N, H, W)``.
        labels: ``(N, H, W)`` integers in ``[0, num_classes)``, or ``ignore_index``.
        num_classes: number of classes C.
        ignore_index: the label of pixels that do not count.

    Returns:
        ``(N, C)`` in the dtype of ``values`` (float32 for integers and booleans).

    Example:
        >>> sum_by_label(torch.tensor([[[1., 2., 4.]]]), torch.tensor([[[0, 0, 255]]]), 2)
        tensor([[3., 0.]])
    """
    dtype = values.dtype if values.dtype.is_floating_point else torch.float32
    if num_classes <= MAX_CLASSES and kernels_take(values):
        from mmseg_balance.functional.primitives.triton.label_sums import label_sums

        return label_sums(values, labels, num_classes, ignore_index).to(dtype)
    index, slots, ignored = _slots(labels, num_classes, ignore_index)
    sums = torch.zeros((len(labels), slots), dtype=torch.float64, device=values.device)
    for image in range(len(labels)):
        sums[image].index_add_(0, index[image].flatten(), values[image].double().flatten())
    sums[:, ignored : ignored + 1].zero_()
    bad = out_of_range(labels, num_classes, ignore_index).flatten(1).any(1, keepdim=True)
    return sums[:, 1 : num_classes + 1].masked_fill(bad, torch.nan).to(dtype)


def class_indices(labels: Tensor, name: str = 'labels') -> Tensor:
    """The labels as int64: in a byte, -1 and 300 would be compared as 255 and 44.

    Args:
        labels: any shape, integers or bool.
        name: what to call them.

    Raises:
        TypeError: floating-point labels, which would lose what is behind the point.

    Example:
        >>> class_indices(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([  0, 255])
        >>> class_indices(torch.tensor([0.0039]))
        Traceback (most recent call last):
        TypeError: labels are torch.float32; they must be integers: ...
    """
    if labels.is_floating_point():
        raise TypeError(
            f'{name} are {labels.dtype}; they must be integers: give the index of each '
            "pixel's class (a mask read as an image in [0, 1] was divided by 255)."
        )
    return labels.long()


def valid_and_index(labels: Tensor, ignore_index: int = 255) -> tuple[Tensor, Tensor]:
    """Where a label counts, and the labels with 0 elsewhere: to index a class with.

    Args:
        labels: any shape.
        ignore_index: the label of pixels that do not count.

    Example:
        >>> valid_and_index(torch.tensor([2, 255]))
        (tensor([ True, False]), tensor([2, 0]))
    """
    labels = labels.long()
    if not _numpy_takes(labels):
        valid = labels != ignore_index
        return valid, torch.where(valid, labels, 0)
    valid = labels.numpy() != ignore_index
    return torch.from_numpy(valid), torch.from_numpy(np.where(valid, labels.numpy(), 0))


def valid_and_class(labels: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """:func:`valid_and_index` with an index that is a class, also for a label out of range.

    Example:
        >>> valid_and_class(torch.tensor([2, 255, 7]), 3, ignore_index=255)
        (tensor([ True, False,  True]), tensor([2, 0, 2]))
    """
    valid, index = valid_and_index(labels, ignore_index)
    return valid, index.clamp(0, num_classes - 1)


def check_shapes(logits: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless there is a label for each pixel of the logits.

    Args:
        logits: ``(N, C, H, W)``, or what stands for them.
        labels: ``(N, H, W)``.

    Example:
        >>> check_shapes(torch.zeros(1, 2, 3, 3), torch.zeros(1, 6, 6))
        Traceback (most recent call last):
        ValueError: logits (1, 2, 3, 3) and labels (1, 6, 6) do not match: ...
    """
    of_logits, of_labels = tuple(logits.shape), tuple(labels.shape)
    if len(of_logits) != 4 or (of_logits[0], *of_logits[2:]) != of_labels:
        raise ValueError(
            f'logits {of_logits} and labels {of_labels} do not match: expected (N, C, H, W) and '
            '(N, H, W); logits of low resolution go into UpsampledLogits.'
        )


def check_pair(pred: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless there is a label for each predicted class.

    Example:
        >>> check_pair(torch.zeros(3, 3), torch.zeros(6, 6))
        Traceback (most recent call last):
        ValueError: pred has shape (3, 3) and labels (6, 6); they must be equal: ...
    """
    if pred.shape != labels.shape:
        raise ValueError(
            f'pred has shape {tuple(pred.shape)} and labels {tuple(labels.shape)}; they must be '
            'equal: does the test pipeline resize the annotations?'
        )


def count_valid(labels: Tensor, ignore_index: int = 255) -> int | Tensor:
    """Number of pixels that are not ignored: a tensor on a GPU, without synchronisation.

    Args:
        labels: any shape.
        ignore_index: the label of pixels that do not count.

    Example:
        >>> count_valid(torch.tensor([0, 1, 255]))
        2
    """
    if not _numpy_takes(labels):
        return (labels.long() != ignore_index).sum()
    return int(np.count_nonzero(labels.numpy() != ignore_index))


def out_of_range(labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Which labels are neither a class nor ignored.

    Args:
        labels: any shape, integers.
        num_classes: number of classes C.
        ignore_index: the label of pixels that do not count.

    Example:
        >>> out_of_range(torch.tensor([0, 18, 19, -1, 255]), num_classes=19)
        tensor([False, False,  True,  True, False])
    """
    labels = labels.long()
    return (labels != ignore_index) & ((labels < 0) | (labels >= num_classes))


def ignored_label(ignore_index: int | None) -> int:
    """The label of pixels that do not count, as a number that no class has where there is none.

    >>> ignored_label(255), ignored_label(None)
    (255, -100)
    """
    return -100 if ignore_index is None else ignore_index


def check_label_range(
    labels: Tensor,
    num_classes: int,
    ignore_index: int | None = 255,
    name: str = 'labels',
    on_gpu: bool = False,
) -> None:
    """Raise ValueError, naming the values, when a label is neither a class nor ignored.

    Convention:
        - a loss looks only at labels on the CPU, and never in a compiled graph: on a GPU that would
          stall the queue. There it is NaN (and ``LabelCheckHook`` looks before the labels go).

    Args:
        labels: any shape, integers.
        num_classes: number of classes C.
        ignore_index: the label of pixels that do not count; None: there is no such label.
        name: what to call them.
        on_gpu: also look at labels on a GPU, which synchronises, as metrics may.

    Example:
        >>> check_label_range(torch.tensor([0, 18, 255]), num_classes=19)
        >>> check_label_range(torch.tensor([0, 19]), num_classes=19)
        Traceback (most recent call last):
        ValueError: labels: label 19 (1 pixels) is neither one of the 19 classes, 0 to 18, nor ...
    """
    if _numpy_takes(labels):
        values = labels.numpy()
    elif on_gpu:
        values = labels
    else:
        return
    bad = (values < 0) | (values >= num_classes)
    if ignore_index is not None:
        bad &= values != ignore_index
    if bad.any():
        found = np.unique(torch.as_tensor(values[bad]).cpu(), return_counts=True)
        raise ValueError(bad_labels_text(name, *found, num_classes, ignore_index))


def bad_labels_text(
    name: str,
    values: Sequence[int],
    pixels: Sequence[int],
    num_classes: int,
    ignore_index: int | None,
) -> str:
    """The sentence on labels out of range: where, which, how many, what is allowed, the remedy.

    Args:
        name: of the labels, or of their file.
        values: labels that are neither a class nor ignored, ascending.
        pixels: number of each.
        num_classes: number of classes C.
        ignore_index: the label of pixels that do not count, if any.
    """
    shown = ', '.join(f'{v} ({n} pixels)' for v, n in zip(values[:5], pixels, strict=False))
    ignored = '' if ignore_index is None else f', nor the ignored {ignore_index}'
    remedy = (
        'masks coded 0/255 are divided by 255 first'
        if values[-1] == 255
        else 'look at num_classes, and at reduce_zero_label and label_map of the data set'
    )
    return (
        f'{name}: label {shown} is neither one of the {num_classes} classes, '
        f'0 to {num_classes - 1}{ignored}: {remedy}'
    )


def _slots(labels: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, int, int]:
    """Labels to index a table with, the table's length, and where the ignored pixels look.

    Class c looks at slot c + 1; the first and the last slot are for labels that are none. A table
    that reaches to the ignored label spares the passes that would move it.
    """
    labels = labels.long()
    if 0 <= ignore_index <= MAX_TABLE:
        top = max(num_classes, ignore_index + 1)
        return (labels + 1).clamp_(0, top + 1), top + 2, ignore_index + 1
    index = (labels + 1).clamp_(0, num_classes + 1)
    index = torch.where(labels == ignore_index, num_classes + 2, index)
    return index, num_classes + 3, num_classes + 2


def _numpy_takes(labels: Tensor) -> bool:
    """Whether NumPy may work on them: it compares integers faster than torch."""
    in_torch = is_compiling() or torch._C._are_functorch_transforms_active()  # of torch.func
    return labels.device.type == 'cpu' and not in_torch
