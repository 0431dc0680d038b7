"""Class weights: as many as there are classes, and in a loss that applies them to classes."""

from collections.abc import Iterator, Mapping

from mmengine.fileio import load

from mmseg_balance import compat
from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, error, warning
from mmseg_balance.doctor.fixes import replacement
from mmseg_balance.doctor.reading import NotReadError, Reading


def _weights(config: Mapping) -> list | None:
    weights = config.get('class_weight')
    if isinstance(weights, str) and not weights.endswith('.npz'):
        try:
            weights = load(weights)
        except Exception:  # of a run elsewhere
            return None
    return list(weights) if isinstance(weights, (list, tuple)) else None


def class_weight_ignored(reading: Reading) -> Iterator[Finding]:
    """``class_weight`` of the stock cross entropy is indexed with the ignored label."""
    fork = compat.has_distribution('onedl-mmsegmentation')
    for head, loss in reading.losses:
        if loss.kind != 'CrossEntropyLoss' or not loss.config.get('class_weight'):
            continue
        if loss.config.get('use_sigmoid') or loss.config.get('use_mask'):
            continue
        if loss.config.get('reduction', 'mean') != 'mean':
            continue
        if fork and not loss.config.get('avg_non_ignore'):
            continue
        weights = _weights(loss.config)
        if weights and head.ignore_index is not None and head.ignore_index < len(weights):
            continue
        try:
            ignored = reading.statistics.ignored_pixels
            how = (
                f'{ignored} training pixels have it'
                if ignored
                else 'no training pixel has it, but padding does as soon as an image is smaller than '
                'the crop'
            )
        except NotReadError:
            ignored, how = 1, 'labels or padding have it'
        yield (error if ignored else warning)(
            f'{loss.key}.class_weight',
            f'the loss looks up the weight of every label, the ignored {head.ignore_index} too '
            f'({how}): IndexError, on a GPU "device-side assert triggered"; avg_non_ignore does '
            'not help',
            'the same weights, ignored pixels left out first:',
            fix=replacement(loss, 'WeightedCrossEntropyLoss'),
        )


def class_weight_length(reading: Reading) -> Iterator[Finding]:
    """``class_weight`` has another length than the head has classes."""
    for head in reading.heads:
        for loss in head.losses:
            weights, classes = _weights(loss.config), head.num_classes
            if weights is None or classes is None:
                continue
            if loss.argument == 'loss_cls' or not head.is_plain:
                yield from _mask_weights(head, loss, weights)
            elif len(weights) != max(classes, 2) and not loss.config.get('use_sigmoid'):
                yield error(
                    f'{loss.key}.class_weight',
                    f'{len(weights)} numbers for {max(classes, 2)} classes',
                    "one number a class, in the order of the data set's classes; or "
                    "class_weight=dict(type='inverse_frequency', statistics='auto') with "
                    "type='WeightedCrossEntropyLoss'",
                )


def _mask_weights(head: view.Head, loss: view.Loss, weights: list) -> Iterator[Finding]:
    is_mask = loss.argument == 'loss_cls' or 'cls' in str(loss.config.get('loss_name', ''))
    if is_mask and len(weights) == head.num_classes:
        yield error(
            f'{loss.key}.class_weight',
            f'{len(weights)} numbers: {head.kind} classifies masks into {head.num_classes} classes '
            'and "no object"',
            'a last weight for "no object", 0.1 in the recipes of MMSegmentation:',
            fix={f'{loss.key}.class_weight': [*weights, 0.1]},
        )


def class_weight_sigmoid(reading: Reading) -> Iterator[Finding]:
    """``class_weight`` with ``use_sigmoid`` on several channels weighs columns of the image."""
    for head, loss in reading.losses:
        if (
            loss.kind == 'CrossEntropyLoss'
            and loss.config.get('use_sigmoid')
            and loss.config.get('class_weight')
            and (head.channels or 0) > 1
        ):
            yield error(
                f'{loss.key}.class_weight',
                'with use_sigmoid=True it becomes pos_weight, whose numbers meet the last axis of '
                '(N, C, H, W), the width: an error, or with as many columns as classes a weight '
                'per column',
                'softmax with these weights:',
                fix=replacement(loss, 'WeightedCrossEntropyLoss'),
            )
