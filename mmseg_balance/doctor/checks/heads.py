"""Heads: classes, channels, and the losses that fit them."""

import math
from collections.abc import Iterator

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, advice, error, not_built, text_of
from mmseg_balance.doctor.fixes import replacement
from mmseg_balance.doctor.reading import NotReadError, Reading
from mmseg_balance.runtime.models import OTHER_CLASSES


def num_classes(reading: Reading) -> Iterator[Finding]:
    """A head has another number of classes than the data set."""
    names = reading.class_names
    if not names:
        return
    for head in reading.heads:
        if head.num_classes is None or head.kind in OTHER_CLASSES:
            continue
        if len(names) == 1 and head.classifies_pixels:
            yield error(
                f'{head.key}.num_classes',
                f'{head.num_classes}, and the training set names one class, {names[0]!r}, with '
                'nothing to tell it from',
                f"in every data set metainfo=dict(classes=('background', {names[0]!r})), with labels "
                f'0 and 1, and {head.key}.num_classes=2',
            )
        elif max(head.num_classes, 2) != max(len(names), 2):
            yield error(
                f'{head.key}.num_classes',
                f'{head.num_classes}, and the training set names {len(names)} classes: '
                + (
                    'labels beyond the head end in an index error, on a GPU in "device-side assert '
                    'triggered"'
                    if head.num_classes < len(names)
                    else 'classes that do not exist are trained and the metric has no name for them'
                ),
                fix={f'{head.key}.num_classes': len(names)},
            )


def out_channels(reading: Reading) -> Iterator[Finding]:
    """``out_channels`` is neither the number of classes nor 1 for two classes."""
    for head in reading.heads:
        channels, classes = head.config.get('out_channels'), head.num_classes
        if None in (channels, classes) or channels == classes or not head.classifies_pixels:
            continue
        if not (channels == 1 and classes == 2):
            yield error(
                f'{head.key}.out_channels',
                f'{channels} for num_classes={classes}: MMSegmentation refuses it',
                fix={f'{head.key}.out_channels': classes},
            )


def one_channel_loss(reading: Reading) -> Iterator[Finding]:
    """A loss on a head of one channel takes the softmax of a single logit."""
    for head, loss in reading.losses:
        if head.channels != 1:
            continue
        sigmoid = loss.config.get('use_sigmoid', loss.kind == 'DiceLoss')
        if loss.kind == 'CrossEntropyLoss' and not sigmoid:
            yield error(
                loss.key,
                'softmax over one channel is 1 whatever the logit: the loss is 0 for label 0, '
                'fails for label 1, and nothing is learned',
                'the sigmoid form:',
                fix=loss.changed(use_sigmoid=True),
            )
        elif loss.kind == 'TverskyLoss':
            yield error(
                loss.key,
                'softmax over one channel is 1 whatever the logit: the loss is constant and '
                'nothing is learned',
                'the same index on the sigmoid:',
                fix=replacement(
                    loss,
                    'SoftTverskyLoss',
                    alpha=loss.config.get('alpha', 0.3),
                    beta=loss.config.get('beta', 0.7),
                ),
            )
        elif loss.kind == 'DiceLoss' and not sigmoid:
            yield error(
                loss.key,
                'with use_sigmoid=False on one channel the logits enter as if they were '
                'probabilities',
                fix=loss.changed(use_sigmoid=True),
            )


def threshold(reading: Reading) -> Iterator[Finding]:
    """A head of one channel without ``threshold`` decides at 0.3."""
    for head in reading.heads:
        one_channel = head.channels == 1 and head.classifies_pixels
        if one_channel and head.config.get('threshold') is None:
            yield advice(
                f'{head.key}.threshold',
                'not set, and MMSegmentation then takes probabilities above 0.3 for the class',
                fix={f'{head.key}.threshold': 0.5},
            )


def batch_of_one(reading: Reading) -> Iterator[Finding]:
    """A batch norm meets a batch with one value per channel."""
    key = 'train_dataloader.batch_size'
    if reading.gpus > 1 and view.has_type(reading.config.get('model'), 'SyncBN'):
        return  # its statistics are over the images of all GPUs
    if reading.batch_size == 1 and _fails_on_one(reading):
        yield error(
            key,
            '1, and a batch norm of the model works on maps of 1x1 pixel (image pooling): '
            '"Expected more than 1 value per channel when training"',
            fix={key: 2},
        )
    elif reading.batch_size > 1 and _last_batch(reading) == 1 and _fails_on_one(reading):
        yield error(
            'train_dataloader.drop_last',
            f'False, and the last batch of an epoch has one of the {_images_of_gpu(reading)} images '
            'of a GPU: a batch norm on maps of 1x1 pixel fails on it',
            fix={'train_dataloader.drop_last': True},
        )
    elif _may_stop_at_one(reading) and _fails_on_one(reading):
        yield error(
            'train_dataloader.batch_sampler.min_images',
            '1 with fill=False, and an image of the training set has min_classes by itself: a '
            'batch norm on maps of 1x1 pixel fails on a batch of it alone',
            fix={'train_dataloader.batch_sampler.min_images': 2},
        )


def _may_stop_at_one(reading: Reading) -> bool:
    """Whether ``BalanceBatchSampler`` can make a batch of a single image."""
    batches = view.loader_of(reading.config, 'train').get('batch_sampler') or {}
    wanted = batches.get('min_classes')
    return (
        view.type_name(batches) == 'BalanceBatchSampler'
        and batches.get('fill') is False
        and batches.get('min_images', 1) == 1
        and isinstance(wanted, int)
        and bool((reading.statistics.classes_per_image >= wanted).any())
    )


def _last_batch(reading: Reading) -> int:
    """Images in a GPU's last batch of an epoch; 0 if it is full or there are no epochs."""
    loader = view.loader_of(reading.config, 'train')
    if view.type_name(loader.get('sampler') or {}) != 'DefaultSampler' or loader.get('drop_last'):
        return 0
    return _images_of_gpu(reading) % reading.batch_size


def _images_of_gpu(reading: Reading) -> int:
    """Of an epoch, as ``DefaultSampler`` divides them."""
    return math.ceil(reading.statistics.num_images / reading.gpus)


def _fails_on_one(reading: Reading) -> bool:
    try:
        reading.model.logits_shape(1)
    except ValueError as problem:
        return 'more than 1 value per channel' in str(problem)
    except NotReadError:
        raise
    except Exception:  # a model of another make; nothing can be said
        return False
    return False


def model_builds(reading: Reading) -> Iterator[Finding]:
    """The model cannot be built."""
    try:
        reading.model  # noqa: B018  reading it is what builds it
    except NotReadError:
        cause = reading.build_errors.get('model')
        if cause is not None:
            yield not_built('model', cause)
            return
        raise


def model_runs(reading: Reading) -> Iterator[Finding]:
    """The forward pass of the model fails."""
    for key, problem, of_head in reading.model.failures():
        yield error(
            key,
            f'the forward pass fails here: {text_of(problem)}'
            + (f'; the head {of_head}' if of_head else ''),
            'set in_index to the place of a map, from 0, and in_channels to its channels'
            if of_head
            else 'correct the channels, strides and indices of backbone and neck that the message is '
            'about',
        )
