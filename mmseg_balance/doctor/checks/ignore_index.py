"""The label that does not count must be the same everywhere."""

from collections.abc import Iterator
from inspect import signature
from itertools import chain

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS, MODELS

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, advice, error, warning
from mmseg_balance.doctor.reading import NotReadError, Reading
from mmseg_balance.metrics.streamed import StreamedMetric

STOCK_DEFAULT = 255
# Losses that read the ignored label from an argument of their own, by its name.
OWN_ARGUMENT = {
    'DiceLoss': 'ignore_index',
    'TverskyLoss': 'ignore_index',
    'OhemCrossEntropy': 'ignore_label',
}
# Heads that call some of their losses without it, and which.
CALLED_WITHOUT = {'DDRHead': (0, 1), 'PIDHead': (1, 3)}
OURS = f', or a loss of mmseg_balance, which ignores {STOCK_DEFAULT} by default'


def dataset_ignore_index(reading: Reading) -> Iterator[Finding]:
    """A head ignores another label than the data set."""
    theirs = _of_data(reading)
    for head in reading.heads:
        if head.is_plain and head.ignore_index is not None and head.ignore_index != theirs:
            yield error(
                f'{head.key}.ignore_index',
                f'{head.ignore_index}, and the training set ignores {theirs}: '
                + (
                    f'class {head.ignore_index} is not trained and label {theirs} is out of range'
                    if 0 <= head.ignore_index < (head.num_classes or 0)
                    else f'label {theirs} is out of range'
                ),
                fix={f'{head.key}.ignore_index': theirs},
            )


def _of_data(reading: Reading) -> int:
    for _, leaf in view.leaf_datasets(reading.config, 'train'):
        if leaf.get('ignore_index') is not None:
            return leaf['ignore_index']
    try:
        return reading.train.ignore_index
    except NotReadError:
        return STOCK_DEFAULT


def metric_ignore_index(reading: Reading) -> Iterator[Finding]:
    """A metric ignores another label than the data set."""
    theirs = _of_data(reading)
    wrong = {}
    metrics = [view.metrics_of(reading.config, split) for split in ('val', 'test')]
    for key, metric in chain(*metrics):
        own = metric.get('ignore_index', STOCK_DEFAULT)
        kind = view.registered(METRICS, metric)
        reads_it = isinstance(kind, type) and issubclass(kind, (IoUMetric, StreamedMetric))
        if reads_it and own != theirs:
            wrong[f'{key}.ignore_index'] = own
    if wrong:
        where, own = next(iter(wrong.items()))
        yield error(
            where,
            f'{own}, and the data set ignores {theirs}: pixels without a label are scored, or a '
            'class is not',
            fix=dict.fromkeys(wrong, theirs),
        )


def padding(reading: Reading) -> Iterator[Finding]:
    """Padded pixels get a label that counts."""
    preprocessor = view.preprocessor_of(reading.config)
    theirs = _of_data(reading)
    pad = preprocessor.get('seg_pad_val', STOCK_DEFAULT)
    if preprocessor and pad != theirs and reading.losses:
        yield error(
            'model.data_preprocessor.seg_pad_val',
            f'{pad}, and the ignored label is {theirs}: the padding of images smaller than the '
            'batch is trained as a class or out of range',
            fix={'model.data_preprocessor.seg_pad_val': theirs},
        )


def crop_ignore_index(reading: Reading) -> Iterator[Finding]:
    """``RandomCrop`` counts ignored pixels as a class."""
    theirs = _of_data(reading)
    for key, step in view.steps_of(reading.config, 'train'):
        own = step.get('ignore_index', STOCK_DEFAULT)
        if (
            view.type_name(step) in ('RandomCrop', 'ClassCenteredCrop')
            and own != theirs
            and step.get('cat_max_ratio', 1.0) < 1
        ):
            yield warning(
                f'{key}.ignore_index',
                f'{own}, and the data set ignores {theirs}: cat_max_ratio takes ignored pixels for '
                'a class',
                fix={f'{key}.ignore_index': theirs},
            )


def loss_ignore_index(reading: Reading) -> Iterator[Finding]:
    """A loss ignores another label than its head."""
    for head, loss in reading.losses:
        name = OWN_ARGUMENT.get(loss.kind)
        if name is None or head.ignore_index is None:
            continue
        own = loss.config.get(name, STOCK_DEFAULT)
        if own == head.ignore_index:
            continue
        # The stock Dice takes it for a class to leave out; it never masks pixels.
        if loss.kind == 'DiceLoss' and (own is None or own >= (head.channels or 0)):
            continue
        yield error(
            f'{loss.key}.{name}',
            f'{own}, and the head ignores {head.ignore_index}, which the loss does not look at: '
            'unlabelled pixels are trained as a class',
            fix={f'{loss.key}.{name}': head.ignore_index},
        )


def unpassed_ignore_index(reading: Reading) -> Iterator[Finding]:
    """A head calls a loss without the ignored label, and the loss's default is another."""
    theirs = _of_data(reading)
    called = [
        (head, loss)
        for head in reading.heads
        for place, loss in enumerate(head.losses)
        if place in CALLED_WITHOUT.get(head.kind, ()) and loss.kind not in OWN_ARGUMENT
    ]
    for head, loss in called:
        default = _default_ignore_index(loss)
        if default not in (None, theirs) and reading.statistics.ignored_pixels:
            yield error(
                loss.key,
                f'{head.kind} calls it without ignore_index, so that it ignores {default}; '
                f'{reading.statistics.ignored_pixels} training pixels have the ignored label '
                f'{theirs}, which is trained as a class or out of range',
                f"a loss that is told itself, dict(type='OhemCrossEntropy', ignore_label={theirs})"
                + (OURS if theirs == STOCK_DEFAULT else ''),
            )


def _default_ignore_index(loss: view.Loss) -> int | None:
    """What it ignores when it is not told; None where that is not known."""
    forward = getattr(view.registered(MODELS, loss.config), 'forward', None)
    taken = signature(forward).parameters.get('ignore_index') if forward else None
    return None if taken is None or taken.default is taken.empty else taken.default


def no_ignore_index(reading: Reading) -> Iterator[Finding]:
    """A head without an ignored label on data that have one."""
    for head in reading.heads:
        if not head.is_plain or head.ignore_index is not None:
            continue
        if reading.statistics.ignored_pixels:
            yield error(
                f'{head.key}.ignore_index',
                f'None, and {reading.statistics.ignored_pixels} training pixels have label '
                f'{reading.train.ignore_index}',
                fix={f'{head.key}.ignore_index': reading.train.ignore_index},
            )
        elif any(map(_is_stock_softmax, head.losses)):
            yield error(
                f'{head.key}.ignore_index',
                'None, which the head passes on to CrossEntropyLoss: TypeError in its first call',
                fix={f'{head.key}.ignore_index': STOCK_DEFAULT},
            )
        else:
            yield advice(
                f'{head.key}.ignore_index',
                'None: padding has no label to be ignored by, and must not occur',
                fix={f'{head.key}.ignore_index': STOCK_DEFAULT},
            )


def _is_stock_softmax(loss: view.Loss) -> bool:
    sigmoid = loss.config.get('use_sigmoid') or loss.config.get('use_mask')
    return loss.kind == 'CrossEntropyLoss' and not sigmoid
