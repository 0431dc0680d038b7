"""From probabilities to classes: the prediction of the best expected IoU or Dice of an image.

The argmax is best for accuracy. IoU and Dice of an image reward finding rare and uncertain regions
more than that, and their best prediction is not the argmax even where the probabilities are right.
"""

import torch
from torch import Tensor

from mmseg_balance.functional.logits import wide_dtype, widen

DECISIONS = ('argmax', 'iou', 'dice')
# A class below it everywhere is not there: RankSEG's ``pruning_prob``.
PRESENT = 0.5
# Probabilities of a pixel add up to 1 within it.
ROUNDING = 1e-5


def decide(logits: Tensor, decision: str = 'argmax') -> Tensor:
    """Class of each pixel by a decision rule, image by image.

    Args:
        logits: ``(N, C, H, W)``, C at least 2, of the size at which classes are wanted.
        decision: ``'argmax'``, or ``'iou'`` or ``'dice'``: see :func:`decide_probs`.

    Returns:
        ``(N, H, W)`` int64.

    Raises:
        ValueError: an unknown decision, or logits of another shape.

    Example:
        >>> logits = torch.tensor([[2., 2., .1, -.1], [0., 0., 0., 0.]]).view(1, 2, 1, 4)
        >>> decide(logits), decide(logits, 'iou')
        (tensor([[[0, 0, 0, 1]]]), tensor([[[0, 0, 1, 1]]]))
    """
    _check(logits, decision)
    if decision == 'argmax':
        return logits.argmax(1)
    return decide_probs(logits.softmax(1, dtype=wide_dtype(logits)), decision)


def decide_probs(probs: Tensor, decision: str = 'iou') -> Tensor:
    r"""RankSEG-RMA: the prediction of the largest expected IoU or Dice, approximately.

    With p the probabilities of one class in one image, :math:`\mu = \sum_x p_x`, the class wants the
    pixels

    .. math::
        A^* = \arg\max_A \frac{\sum_{x \in A} p_x}{\mu + \sum_{x \in A} (1 - p_x)}\text{ (IoU)},\quad
        A^* = \arg\max_A \frac{2 \sum_{x \in A} p_x}{\mu + |A| + 1}\text{ (Dice)}

    which are those with :math:`p_x > t`, where :math:`t = \lambda / (1 + \lambda)` or
    :math:`t = \lambda / 2` and :math:`\lambda` is the maximum itself. A pixel that several classes
    want, or none, gets the class whose objective grows most by it, given what one class alone wants.

    Convention:
        - it serves scores that are a mean over images, mIoU^I and mIoU^C, and Dice likewise; not
          mIoU over a data set, and not accuracy, which may fall;
        - a class whose probability is nowhere above 1/2 takes no part, unless none is above it;
        - the probabilities must be calibrated for it to be the best;
        - an image with a nan, which an infinite logit makes too, gets the argmax;
        - equals RankSEG 0.0.8 (solver RMA, smooth 0, multiclass) up to rounding.

    t is found without sorting, by Dinkelbach's iteration on the pixels with p between a bound of t
    and 1/2: it rises in every step and stops at the exact optimum, after about five.

    Args:
        probs: ``(N, C, H, W)``, C at least 2, classes add up to 1.
        decision: ``'argmax'``, ``'iou'`` or ``'dice'``.

    Returns:
        ``(N, H, W)`` int64.

    Raises:
        ValueError: an unknown decision, or probabilities of another shape.

    Example:
        >>> probs = torch.tensor([[.9, .9, .52, .48], [.1, .1, .48, .52]]).view(1, 2, 1, 4)
        >>> decide_probs(probs, 'iou')
        tensor([[[0, 0, 1, 1]]])

    Reference:
        Dai and Li, "RankSEG: A Consistent Ranking-based Framework for Segmentation", 2023;
        Wang and Dai, "RankSEG-RMA: An Efficient Segmentation Algorithm via Reciprocal Moment
        Approximation", 2025, and the package ``rankseg`` (BSD).
    """
    _check(probs, decision)
    if decision == 'argmax':
        return probs.argmax(1)
    images = [_decide_image(image, decision) for image in widen(probs).flatten(2)]
    chosen = torch.stack(images) if images else probs.new_empty(0, dtype=torch.long)
    return chosen.view(probs.shape[0], *probs.shape[2:])


def check_decision(decision: str) -> None:
    """Raise ValueError, with the rules that there are, for one that there is not."""
    if decision not in DECISIONS:
        raise ValueError(f'decision is {decision!r}; it must be one of {", ".join(DECISIONS)}.')


def _check(values: Tensor, decision: str) -> None:
    check_decision(decision)
    if values.dim() != 4 or values.shape[1] < 2:
        raise ValueError(
            f'logits or probabilities have shape {tuple(values.shape)}; (N, C, H, W) with two '
            'classes or more are needed: give a one-channel head both, as (0, z).'
        )


def _decide_image(probs: Tensor, decision: str) -> Tensor:
    """Classes ``(P,)`` of one image's probabilities ``(C, P)``."""
    mean = probs.sum(1).double()  # pairwise: as good as in float64, without its copy
    top, chosen = probs.max(0)
    if not mean.isfinite().all():  # no objective, so no threshold
        return chosen
    sure = top > PRESENT
    hits, size = _sums_per_class(chosen, top, sure, len(probs))
    present = size.nonzero()[:, 0]
    # All sure pixels are wanted, since no objective is above 1; they bound the thresholds below.
    limits = _threshold_of(hits, size, mean, decision)
    least = float(limits[present].min()) if len(present) else 0.0
    # Elsewhere one class is sure, and what is left for the others is below every threshold.
    place = (~(sure & (top > 1 - least + ROUNDING))).nonzero()[:, 0]
    open_probs = probs.index_select(1, place)
    wanted = torch.zeros_like(open_probs, dtype=torch.bool)
    for row in present.tolist():
        given = (float(hits[row]), int(size[row]), float(mean[row]))
        wanted[row] = open_probs[row] > _best_threshold(open_probs[row], *given, decision)
    # As few rows as wide: max over them is much faster than argmax on a CPU.
    bits = wanted.view(torch.uint8)
    number, first = bits.sum(0, dtype=torch.uint8), bits.max(0).indices
    alone = torch.ones_like(sure)
    alone[place] = number == 1
    chosen[place] = first
    open_places = (number != 1).nonzero()[:, 0]
    if len(open_places):
        value = probs.gather(0, chosen[None])[0]
        hits, size = _sums_per_class(chosen, value, alone, len(probs))
        gain = _increments(
            open_probs[:, open_places].double(),
            hits[:, None],
            size[:, None],
            mean[:, None],
            decision,
        )
        chosen[place[open_places]] = _settle(gain, wanted[:, open_places], present)
    return chosen


def _sums_per_class(
    classes: Tensor, values: Tensor, counted: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Sum of ``values`` and number of the counted pixels of each class, in float64."""
    # One more bin for the others: several times as fast as indexing with the mask.
    bins = torch.where(counted, classes, num_classes)
    sums = torch.bincount(bins, weights=values.double(), minlength=num_classes + 1)
    return sums[:-1], torch.bincount(bins, minlength=num_classes + 1)[:-1].double()


def _best_threshold(p: Tensor, hits: float, size: int, mean: float, decision: str) -> float:
    """The probability above which a class wants a pixel.

    Args:
        p: Its ``(P,)`` probabilities; those that matter lie between a bound and 1/2.
        hits, size: Sum and number of its probabilities above 1/2, in the whole image.
        mean: Sum of all of them.
        decision: ``'iou'`` or ``'dice'``.
    """
    limit = _threshold_of(hits, size, mean, decision)
    rest = p[(p > limit) & (p <= PRESENT)].double()
    while True:
        rest = rest[rest > limit]
        better = _threshold_of(hits + float(rest.sum()), size + len(rest), mean, decision)
        if better <= limit:  # the optimum; rounding may take it back a little
            return limit
        limit = better


def _threshold_of(hits, size, mean, decision: str):
    """The threshold that goes with the objective of a set of ``size`` pixels that hold ``hits``."""
    if decision == 'dice':
        return hits / (size + mean + 1)
    # hits / union / (1 + hits / union), where union is mean + size - hits
    return hits / (mean + size)


def _settle(gain: Tensor, wanted: Tensor, present: Tensor) -> Tensor:
    """The classes ``(U,)`` of pixels that several classes want, or none, from what each gains."""
    if not len(present):  # without any class that is there, all of them are candidates
        return gain.max(0).indices
    asked = wanted[present]
    gain = gain[present].masked_fill(~(asked | ~asked.any(0)), -torch.inf)
    return present[gain.max(0).indices]


def _increments(probs: Tensor, hits: Tensor, size: Tensor, mean: Tensor, decision: str) -> Tensor:
    r"""What each class's objective gains by each pixel, from ``hits`` and ``size`` of its sure ones.

    .. math::
        \frac{2 (h + p)}{b + 2} - \frac{2 h}{b + 1} = \frac{2}{b + 2} \Bigl(p - \frac{h}{b + 1}\Bigr),
        \quad
        \frac{h + p}{u + 1 - p} - \frac{h}{u} = \frac{p - (1 - p) h / u}{u + 1 - p}

    with b the sum of ``size`` and ``mean``, u that less ``hits``; h / u is 0 where u is.
    """
    if decision == 'dice':
        base = size + mean + 1
        return (probs - hits / base) * (2 / (base + 1))
    union = size + mean - hits
    ratio = torch.where(union > 0, hits / union.clamp(min=torch.finfo(union.dtype).tiny), 0)
    return (probs - ratio * (1 - probs)) / (union + 1 - probs)
