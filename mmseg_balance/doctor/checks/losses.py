"""Losses: arguments that fail, or mean something else than they say."""

from collections import Counter
from collections.abc import Iterator, Mapping

from mmengine.fileio import load

from mmseg_balance import compat
from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, advice, error, warning
from mmseg_balance.doctor.fixes import REGISTER
from mmseg_balance.doctor.model_build import training_size
from mmseg_balance.doctor.reading import NotReadError, Reading

STOCK_WITHOUT_PIXELS = ('DiceLoss', 'TverskyLoss', 'LovaszLoss', 'HuasdorffDisstanceLoss')
REGION_LOSSES = (
    'SoftDiceLoss',
    'SoftIoULoss',
    'SoftTverskyLoss',
    'GeneralizedDiceLoss',
    'LovaszSoftmaxLoss',
)
SUMMED_OVER_PIXELS = ('CrossEntropyLoss', 'FocalLoss')
FLOAT16_MAX = 65504
KEPT = ('loss_weight', 'loss_name', 'class_weight')


def replacement(loss: view.Loss, kind: str, **arguments) -> dict:
    """A fix that puts a loss of this package in the place of another, name and weight kept."""
    kept = {name: loss.config[name] for name in KEPT if loss.config.get(name) is not None}
    return {loss.key: dict(type=kind, **arguments, **kept), **REGISTER}


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


def dice_pools_classes(reading: Reading) -> Iterator[Finding]:
    """The stock Dice pools all classes and counts ignored pixels."""
    for head, loss in reading.losses:
        if loss.kind == 'DiceLoss' and (head.channels or 0) > 1:
            yield warning(
                loss.key,
                'one Dice of all classes together: a rare class that is missed altogether hardly '
                'moves it; and the predictions on ignored pixels count'
                + (
                    ', as independent sigmoids (use_sigmoid=True is its default)'
                    if loss.config.get('use_sigmoid', True)
                    else ''
                ),
                f"dict(type='SoftDiceLoss', loss_weight={loss.config.get('loss_weight', 1.0)}): the "
                'mean over classes of the Dice of each, on labelled pixels',
            )


def sigmoid_of_classes(reading: Reading) -> Iterator[Finding]:
    """``use_sigmoid`` on several channels trains independent probabilities."""
    for head, loss in reading.losses:
        if (
            loss.config.get('use_sigmoid')
            and (head.channels or 0) > 2
            and loss.kind == 'CrossEntropyLoss'
            and not loss.config.get('class_weight')
        ):
            yield advice(
                f'{loss.key}.use_sigmoid',
                f'{head.channels} independent yes/no questions a pixel, whose probabilities do not '
                'add up to 1; predictions take the largest and calibration metrics a softmax',
                'use_sigmoid=False unless a pixel can be of several classes',
            )


def focal_softmax(reading: Reading) -> Iterator[Finding]:
    """The stock focal loss has no softmax form."""
    for _, loss in reading.losses:
        if loss.kind == 'FocalLoss' and loss.config.get('use_sigmoid', True) is not True:
            yield error(
                f'{loss.key}.use_sigmoid',
                "False: 'Only sigmoid focal loss supported now' (AssertionError)",
                'the softmax form:',
                fix=replacement(loss, 'SoftmaxFocalLoss', gamma=loss.config.get('gamma', 2.0)),
            )


def loss_not_optimised(reading: Reading) -> Iterator[Finding]:
    """A ``loss_name`` without 'loss' is logged but not optimised."""
    for _, loss in reading.losses:
        name = loss.config.get('loss_name')
        if isinstance(name, str) and 'loss' not in name:
            yield error(
                f'{loss.key}.loss_name',
                f"{name!r} does not contain 'loss': MMEngine logs it and leaves it out of the sum "
                'that is optimised',
                fix={f'{loss.key}.loss_name': f'loss_{name}'},
            )


def loss_name_shared(reading: Reading) -> Iterator[Finding]:
    """Two losses of a head share a name, and so one entry of the log."""
    for head in reading.heads:
        own = [loss for h, loss in reading.losses if h.key == head.key]
        names = Counter(loss.name for loss in own)
        for name, number in names.items():
            if number < 2 or name is None:
                continue
            twins = [loss for loss in own if loss.name == name]
            fix = {
                f'{loss.key}.loss_name': f'{name}_{index + 2}'
                for index, loss in enumerate(twins[1:])
            }
            yield warning(
                f'{twins[1].key}.loss_name',
                f'{number} losses of the head are named {name!r}: the log shows their sum, and a '
                'LossScheduleHook moves them together',
                fix=fix,
            )


def ohem(reading: Reading) -> Iterator[Finding]:
    """A pixel sampler with a loss that has no value per pixel, or ignores weights."""
    for head, loss in reading.losses:
        sampler = head.config.get('sampler')
        if not sampler or view.type_name(sampler) != 'OHEMPixelSampler':
            continue
        ranks = sampler.get('thresh') is None
        if loss.kind == 'DiceLoss' or (
            ranks and loss.kind in (*REGION_LOSSES, 'TverskyLoss', 'LovaszLoss')
        ):
            ours = loss.kind in REGION_LOSSES
            yield error(
                f'{head.key}.sampler',
                f'OHEMPixelSampler needs the value of each pixel and {loss.kind} has none',
                'choose pixels by their probability:'
                if ours
                else 'remove the sampler, or keep it beside losses of pixels only',
                fix={f'{head.key}.sampler.thresh': 0.7} if ours else None,
            )
        elif loss.kind in STOCK_WITHOUT_PIXELS:
            yield warning(
                f'{head.key}.sampler',
                f'{loss.kind} ignores the weights of OHEMPixelSampler: it sees all pixels',
                'remove the sampler, or use a loss that takes weights (SoftTverskyLoss, '
                'SoftDiceLoss)',
            )


def not_for_this_head(reading: Reading) -> Iterator[Finding]:
    """A loss that only its own heads can call."""
    for _, loss in reading.losses:
        if loss.kind in ('OhemCrossEntropy', 'BoundaryLoss'):
            yield error(
                loss.key,
                f'{loss.kind} takes no weight and ignore_index, which the head passes: TypeError; '
                'only DDRHead and PIDHead call it',
                "OHEM for every head: dict(type='OHEMCrossEntropyLoss')",
            )


def average_over_ignored(reading: Reading) -> Iterator[Finding]:
    """The stock cross entropy divides by all pixels, ignored ones too."""
    keys = [
        loss.key
        for _, loss in reading.losses
        if loss.kind == 'CrossEntropyLoss'
        and not loss.config.get('avg_non_ignore')
        and not loss.config.get('class_weight')
        and loss.config.get('reduction', 'mean') == 'mean'
    ]
    if not keys:
        return
    try:
        found = reading.statistics
        share = found.ignored_pixels / max(found.ignored_pixels + int(found.pixels.sum()), 1)
        if not share:
            return
        how = f'{share:.1%} of the training pixels are ignored, and padding adds to them'
    except NotReadError:
        how = 'ignored and padded pixels'
    yield advice(
        f'{keys[0]}.avg_non_ignore',
        f'not set, so the sum is divided by all pixels ({how}): an image with few labels weighs '
        'little',
        fix={f'{key}.avg_non_ignore': True for key in keys if not _is_default(reading, key)},
    )


def _is_default(reading: Reading, key: str) -> bool:
    return any(loss.key == key and loss.config is view.DEFAULT_LOSS for _, loss in reading.losses)


def float16_sum(reading: Reading) -> Iterator[Finding]:
    """Gradients of a loss that is summed over pixels overflow in float16."""
    wrapper = reading.config.get('optim_wrapper') or {}
    if view.type_name(wrapper) != 'AmpOptimWrapper' or wrapper.get('dtype') == 'bfloat16':
        return
    scale = wrapper.get('loss_scale', 'dynamic')
    height, width = training_size(reading.config)
    pixels = reading.batch_size * height * width
    for _, loss in reading.losses:
        # Stock Dice, Tversky and Lovász losses are ratios of each image: their sum is small.
        if loss.config.get('reduction') != 'sum' or loss.kind not in SUMMED_OVER_PIXELS:
            continue
        fix = {f'{loss.key}.reduction': 'mean'}
        if isinstance(scale, float) and scale * pixels > FLOAT16_MAX:
            yield error(
                f'{loss.key}.reduction',
                f"'sum' of {pixels} pixels under float16 with the fixed loss_scale={scale:g}: their "
                f'gradients add up beyond {FLOAT16_MAX}, the largest float16, so that every step '
                'is skipped and nothing is learned',
                fix=fix,
            )
        else:
            yield warning(
                f'{loss.key}.reduction',
                "'sum' under float16: gradients grow with the number of pixels and overflow, so "
                'the loss scale falls and steps are skipped',
                fix=fix,
            )
