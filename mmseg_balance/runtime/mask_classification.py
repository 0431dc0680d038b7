"""Class weights of heads that classify masks, such as MaskFormer's and Mask2Former's.

Their ``loss_cls`` takes C + 1 weights, the last for "no object". A list of another length is a
device-side assert on a GPU, and a rule in its place an error in the first iteration.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace

import numpy as np
from torch import nn

from mmseg_balance.functional.class_weights import class_weights
from mmseg_balance.runtime.models import unwrapped
from mmseg_balance.statistics import ClassStatistics, load_statistics

NO_OBJECT = 0.1
UNITS = ('images', 'pixels')
REMEDY = (
    "give C + 1 numbers, or dict(type='inverse_frequency', statistics='auto', unit='images', "
    f'no_object={NO_OBJECT})'
)


def mask_heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The heads of a segmentor that classify masks, with their names."""
    for name, module in unwrapped(model).named_modules():
        if all(hasattr(module, part) for part in ('cls_embed', 'loss_cls', 'num_classes')):
            yield name, module


def mask_class_weights(
    statistics: ClassStatistics,
    rule: str,
    unit: str = 'images',
    no_object: float = NO_OBJECT,
    **options,
) -> list[float]:
    r"""C + 1 weights for classifying masks.

    .. math:: w_c = r_c \Bigm/ \frac{1}{|S|} \sum_{k \in S} r_k,\quad w_{C} = w_\varnothing

    with r what the rule gives and S the classes that the data has.

    Convention:
        - with ``unit='images'`` the rule sees the images that hold a class where it would see
          pixels: in semantic segmentation one image has one mask of each class in it, and masks are
          what the loss counts;
        - scaled to a mean of 1 over the classes, so that ``no_object`` means what it does in
          ``[1.0] * C + [0.1]``; an absent class gets 0.

    Args:
        statistics: Of the training set.
        rule: One of the class-weight rules.
        unit: ``'images'`` or ``'pixels'``.
        no_object: Weight of "no object", positive.
        options: The rule's own arguments.

    Raises:
        ValueError: an unknown rule or unit, or ``no_object`` not positive.

    Example:
        >>> import numpy as np
        >>> counts = SimpleNamespace(pixels=np.array([900, 100]), images=np.array([3, 1]),
        ...                          image_pixels=np.array([900, 300]), num_images=3)
        >>> mask_class_weights(counts, 'inverse_frequency')
        [0.5, 1.5, 0.1]
    """
    if unit not in UNITS:
        raise ValueError(f'unit is {unit!r}; it must be one of {", ".join(UNITS)}.')
    if not 0 < no_object < float('inf'):
        raise ValueError(f'no_object is {no_object}; it must be positive, {NO_OBJECT} as a rule.')
    counts = statistics
    if unit == 'images':
        images = np.asarray(statistics.images)
        everything = np.full(len(images), statistics.num_images)
        counts = SimpleNamespace(pixels=images, images=images, image_pixels=everything)
    weights = np.asarray(class_weights(rule, counts, **options), np.float64)
    seen = np.asarray(statistics.images) > 0
    weights = np.where(seen, weights / weights[seen].mean(), 0.0)
    return [*weights.tolist(), float(no_object)]


def set_mask_class_weights(model: nn.Module, dataset) -> None:
    """Put numbers in place of rules, and refuse lists of another length than C + 1.

    Args:
        model: The segmentor, wrapped or not.
        dataset: The training set, for ``statistics='auto'``.

    Raises:
        ValueError: names the head, what it has and what it needs.
    """
    for name, head in mask_heads(model):
        loss = head.loss_cls
        weights = getattr(loss, 'class_weight', None)
        if isinstance(weights, Mapping):
            weights = _resolved(name, weights, dataset)
        if not isinstance(weights, Sequence):
            raise ValueError(f'class_weight of loss_cls in {name} is {weights!r}: {REMEDY}')
        if len(weights) != head.num_classes + 1:
            raise ValueError(
                f'class_weight of loss_cls in {name} has {len(weights)} numbers and the head '
                f'{head.num_classes} classes and "no object", {head.num_classes + 1} together: '
                f'{REMEDY}'
            )
        # The head divides by the weights of its targets, from a list of its own.
        loss.class_weight = head.class_weight = list(weights)


def _resolved(name: str, spec: Mapping, dataset) -> list[float]:
    spec = dict(spec)
    if not {'type', 'statistics'} <= spec.keys():
        raise ValueError(
            f"class_weight of loss_cls in {name} is {spec}, without 'type' or 'statistics': {REMEDY}"
        )
    rule, source = spec.pop('type'), spec.pop('statistics')
    statistics = load_statistics(source, dataset if source == 'auto' else None)
    return mask_class_weights(statistics, rule, **spec)
