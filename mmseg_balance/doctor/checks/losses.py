"""Losses: arguments that fail, or mean something else than they say."""

from collections import Counter
from collections.abc import Iterator, Mapping

from mmseg.registry import MODELS

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, advice, error, warning
from mmseg_balance.doctor.fixes import replacement
from mmseg_balance.doctor.model_build import training_size
from mmseg_balance.doctor.reading import NotReadError, Reading

STOCK_WITHOUT_PIXELS = ('DiceLoss', 'TverskyLoss', 'LovaszLoss', 'HuasdorffDisstanceLoss')
SUMMED_OVER_PIXELS = ('CrossEntropyLoss', 'FocalLoss')
FLOAT16_MAX = 65504


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
        ours = _is_region(loss.config)
        if loss.kind == 'DiceLoss' or (
            ranks and (ours or loss.kind in ('TverskyLoss', 'LovaszLoss'))
        ):
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


def _is_region(config: Mapping) -> bool:
    """Whether it is a loss of this package without a value per pixel, or a pair with such a loss."""
    kind = view.registered(MODELS, config)
    return getattr(kind, 'is_region', False) or any(map(_is_region, config.get('losses') or ()))


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
    found = [
        loss
        for _, loss in reading.losses
        if loss.kind == 'CrossEntropyLoss'
        and not loss.config.get('avg_non_ignore')
        and not loss.config.get('class_weight')
        and loss.config.get('reduction', 'mean') == 'mean'
    ]
    if not found:
        return
    try:
        statistics = reading.statistics
        ignored = statistics.ignored_pixels
        share = ignored / max(ignored + int(statistics.pixels.sum()), 1)
        if not share:
            return
        how = f'{share:.1%} of the training pixels are ignored, and padding adds to them'
    except NotReadError:
        how = 'ignored and padded pixels'
    yield advice(
        f'{found[0].key}.avg_non_ignore',
        f'not set, so the sum is divided by all pixels ({how}): an image with few labels weighs '
        'little',
        fix={
            key: value for loss in found for key, value in loss.changed(avg_non_ignore=True).items()
        },
    )


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
