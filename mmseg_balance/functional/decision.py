"""From probabilities to classes: the prediction of the best expected IoU or Dice of an image.

The argmax is best for accuracy. IoU and Dice of an image reward finding rare and uncertain regions
more than that, and their best prediction is not the argmax even where the probabilities are right.
"""

import torch
from torch import Tensor
from torch.nn.functional import threshold

DECISIONS = ('argmax', 'iou', 'dice')
# A class below it everywhere is not there: RankSEG's ``pruning_prob``.
PRESENT = 0.5


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
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return decide_probs(logits.softmax(1, dtype=dtype), decision)


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
        - equals RankSEG 0.0.8 (solver RMA, smooth 0, multiclass) up to rounding; sums in float64.

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
    if probs.dtype in (torch.float16, torch.bfloat16):
        probs = probs.float()
    images = [_decide_image(image, decision) for image in probs.flatten(2)]
    return torch.stack(images).view(probs.shape[0], *probs.shape[2:])


def _check(values: Tensor, decision: str) -> None:
    if decision not in DECISIONS:
        raise ValueError(f'decision is {decision!r}; it must be one of {", ".join(DECISIONS)}.')
    if values.dim() != 4 or values.shape[1] < 2:
        raise ValueError(
            f'logits or probabilities have shape {tuple(values.shape)}; (N, C, H, W) with two '
            'classes or more are needed: give a one-channel head both, as (0, z).'
        )


def _decide_image(probs: Tensor, decision: str) -> Tensor:
    """Classes ``(P,)`` of one image's probabilities ``(C, P)``."""
    mean = probs.sum(1, dtype=torch.float64)
    rows = (probs.amax(1) > PRESENT).nonzero()[:, 0].tolist()
    number = torch.zeros_like(probs[0], dtype=torch.uint8)  # of classes that want the pixel
    chosen = torch.zeros_like(number, dtype=torch.int64)
    wanted = {}
    for row in rows:
        wanted[row] = probs[row] > _best_threshold(probs[row], float(mean[row]), decision)
        number += wanted[row]
        chosen.masked_fill_(wanted[row], row)
    return _settle(probs, wanted, number, chosen, mean, decision)


def _best_threshold(p: Tensor, mean: float, decision: str) -> float:
    """The probability above which a class wants a pixel, from its ``(P,)`` probabilities."""
    # All of these are wanted, since no objective is above 1; what they give bounds t from below.
    sure = p > PRESENT
    size, hits = int(sure.sum()), float(threshold(p, PRESENT, 0.0).sum(dtype=torch.float64))
    limit = _threshold_of(hits, size, mean, decision)
    rest = p[(p > limit) & ~sure].double()
    while True:
        rest = rest[rest > limit]
        better = _threshold_of(hits + float(rest.sum()), size + len(rest), mean, decision)
        if better <= limit:  # the optimum; rounding may take it back a little
            return limit
        limit = better


def _threshold_of(hits: float, size: int, mean: float, decision: str) -> float:
    """The threshold that goes with the objective of a set of ``size`` pixels that hold ``hits``."""
    if decision == 'dice':
        return hits / (size + mean + 1)
    value = hits / (mean + size - hits)
    return value / (1 + value)


def _settle(
    probs: Tensor, wanted: dict, number: Tensor, chosen: Tensor, mean: Tensor, decision: str
) -> Tensor:
    """Give the pixels that several classes want, or none, to one of them."""
    alone = number == 1
    place = (~alone).nonzero()[:, 0]
    if not len(place):
        return chosen
    hits, size = torch.zeros_like(mean), torch.zeros_like(mean)
    for row, mask in wanted.items():
        mine = mask & alone
        size[row] = mine.sum()
        hits[row] = torch.where(mine, probs[row], 0).sum(dtype=torch.float64)
    # Without any class that is there, all of them are candidates.
    rows = torch.tensor(list(wanted) or list(range(len(probs))), device=probs.device)
    gain = _increments(probs[rows][:, place].double(), hits[rows], size[rows], mean[rows], decision)
    if wanted:
        asked = torch.stack([mask[place] for mask in wanted.values()])
        gain.masked_fill_(~(asked | (number[place] == 0)), -torch.inf)
    chosen[place] = rows[gain.max(0).indices]  # on a CPU much faster than argmax over rows
    return chosen


def _increments(probs: Tensor, hits: Tensor, size: Tensor, mean: Tensor, decision: str) -> Tensor:
    r"""What each class's objective gains by each pixel, from ``hits`` and ``size`` of its sure ones.

    .. math::
        \frac{2 (h + p)}{b + 2} - \frac{2 h}{b + 1} = \frac{2}{b + 2} \Bigl(p - \frac{h}{b + 1}\Bigr),
        \quad
        \frac{h + p}{u + 1 - p} - \frac{h}{u} = \frac{p - (1 - p) h / u}{u + 1 - p}

    with b the sum of ``size`` and ``mean``, u that less ``hits``; h / u is 0 where u is.
    """
    hits, size, mean = hits[:, None], size[:, None], mean[:, None]
    if decision == 'dice':
        base = size + mean + 1
        return (probs - hits / base) * (2 / (base + 1))
    union = size + mean - hits
    ratio = torch.where(union > 0, hits / union.clamp(min=torch.finfo(union.dtype).tiny), 0)
    return (probs - ratio * (1 - probs)) / (union + 1 - probs)
