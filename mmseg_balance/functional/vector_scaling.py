r"""A scale and a bias for each class: fitted to the likelihood, or the bias alone to a score.

.. math:: z'_c = s_c z_c + b_c

Everything here works on ``(P, C)`` logits of P pixels that fit in memory. A one-channel head comes
as its two logits ``(0, z)``, with ``free=(False, True)``: its first logit stays 0.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmseg_balance.functional.labels import check_label_range, class_indices

# Pulls every scale to 1 and every bias to 0: the fit is unique, and that of an absent class finite.
RIDGE = 1e-3
# Accuracy that a bias fitted for recall may give up, as a fraction of the pixels.
ACCURACY_DROP = 0.01
BISECTIONS = 8


def fit_vector_scaling(
    logits: Tensor,
    labels: Tensor,
    *,
    fit_bias: bool = True,
    free: Sequence[bool] | None = None,
    ridge: float = RIDGE,
) -> tuple[Tensor, Tensor]:
    r"""Scale and bias of each class at the least negative log-likelihood.

    .. math::
        \min_{s, b} \frac{1}{P} \sum_x -\log \mathrm{softmax}(s \odot z_x + b)_{y_x}
        + \frac{\rho}{2} \sum_c \left((s_c - 1)^2 + b_c^2\right)

    Convention:
        - convex, so there is one minimum, and L-BFGS finds it; float64;
        - without bias this is class-conditional temperature scaling, :math:`T_c = 1 / s_c`;
        - an absent class is pushed down until the ridge :math:`\rho` stops it.

    Args:
        logits: ``(P, C)``, at least one pixel. labels: ``(P,)`` integers in ``[0, C)``.
        fit_bias: False leaves the biases 0.
        free: ``(C,)`` classes whose scale and bias may change; all by default.
        ridge: :math:`\rho`, not negative.

    Returns:
        Scales and biases, ``(C,)`` float64 each.

    Raises:
        ValueError: shapes that do not fit, no pixel, a logit that is not finite, a label out of
            range, a negative ridge.

    Example:
        >>> logits = torch.tensor([[4., 0.], [4., 0.], [4., 0.], [4., 0.]])
        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> scale, bias = fit_vector_scaling(logits, labels, ridge=1e-9, free=(False, True))
        >>> round(float(4 - bias[1]), 3)  # the log-odds of three to one
        1.099

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2.
    """
    logits, labels, mask = _checked(logits, labels, free)
    if ridge < 0:
        raise ValueError(f'ridge is {ridge}; it must not be negative.')
    parts = 2 if fit_bias else 1

    def maps(step: Tensor) -> tuple[Tensor, Tensor]:
        step = step.view(parts, -1) * mask
        return 1 + step[0], step[1] if fit_bias else torch.zeros_like(step[0])

    def objective(step: Tensor) -> Tensor:
        scale, bias = maps(step)
        return cross_entropy(logits * scale + bias, labels) + ridge / 2 * (step**2).sum()

    return maps(_minimise(objective, logits.new_zeros(parts * logits.shape[1])))


def fit_iou_bias(
    logits: Tensor, labels: Tensor, *, free: Sequence[bool] | None = None, ridge: float = RIDGE
) -> Tensor:
    r"""Bias of each class at the largest soft mIoU.

    .. math::
        \max_b \frac{1}{|S|} \sum_{c \in S} \frac{I_c}{P_c + n_c - I_c}
        - \frac{\rho}{2} \sum_c b_c^2,\quad
        I_c = \sum_{x: y_x = c} p_{x,c},\; P_c = \sum_x p_{x,c}

    where p is the softmax of :math:`z + b` and S are the classes that have pixels.

    Convention: not concave; the local maximum that L-BFGS reaches from no bias. float64.

    Args:
        logits, labels, free, ridge: See :func:`fit_vector_scaling`.

    Returns:
        ``(C,)`` float64.

    Example:
        >>> logits = torch.tensor([[1., 0.]]).repeat(4, 1)
        >>> bias = fit_iou_bias(logits, torch.tensor([1, 1, 1, 1]))
        >>> bool(bias[1] > bias[0] + 1)  # class 1 is preferred afterwards
        True
    """
    logits, labels, mask = _checked(logits, labels, free)
    counts = torch.bincount(labels, minlength=logits.shape[1]).double()
    present = counts > 0

    def objective(bias: Tensor) -> Tensor:
        probs = (logits + bias * mask).softmax(1)
        hits = _hits(probs, labels)
        iou = hits / (probs.sum(0) + counts - hits)
        return ridge / 2 * (bias**2).sum() - iou[present].mean()

    return _minimise(objective, logits.new_zeros(logits.shape[1])) * mask


def fit_recall_bias(
    logits: Tensor,
    labels: Tensor,
    accuracy_drop: float = ACCURACY_DROP,
    *,
    free: Sequence[bool] | None = None,
    ridge: float = RIDGE,
) -> Tensor:
    r"""Bias of each class at the largest soft mean recall, at a floor of accuracy.

    .. math::
        \max_b \frac{1}{|S|} \sum_{c \in S} \frac{I_c}{n_c} + \mu \frac{1}{P} \sum_c I_c
        - \frac{\rho}{2} \sum_c b_c^2

    with the least :math:`\mu` (by bisection between 1/8 and 32 on a logarithmic scale) at which the
    accuracy of the argmax on these pixels is at least that without bias less ``accuracy_drop``.

    Convention: as :func:`fit_iou_bias`, but only the first of the bisection's fits starts from no
    bias, each later one from the bias before; if no such :math:`\mu` keeps the floor, the bias is 0.

    Args:
        logits, labels, free, ridge: See :func:`fit_vector_scaling`.
        accuracy_drop: What accuracy may fall by, a fraction in [0, 1).

    Returns:
        ``(C,)`` float64.

    Raises:
        ValueError: accuracy_drop outside [0, 1), or what :func:`fit_vector_scaling` refuses.

    Example:
        >>> logits = torch.tensor([[2., 0.], [2., 0.], [2., 0.], [.5, 0.]])
        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> bias = fit_recall_bias(logits, labels)
        >>> (logits + bias).argmax(1)
        tensor([0, 0, 0, 1])
    """
    if not 0 <= accuracy_drop < 1:
        raise ValueError(f'accuracy_drop is {accuracy_drop}; it is a fraction in [0, 1).')
    logits, labels, mask = _checked(logits, labels, free)
    counts = torch.bincount(labels, minlength=logits.shape[1]).double()
    present = counts > 0
    floor = _accuracy(logits, labels) - accuracy_drop

    def fitted(mu: float, start: Tensor) -> Tensor:
        def objective(bias: Tensor) -> Tensor:
            hits = _hits((logits + bias * mask).softmax(1), labels)
            recall = (hits[present] / counts[present]).mean()
            return ridge / 2 * (bias**2).sum() - recall - mu * hits.sum() / len(labels)

        return _minimise(objective, start) * mask

    best = start = logits.new_zeros(logits.shape[1])
    low, high = -3.0, 5.0  # log2 of mu
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        start = fitted(2**middle, start)
        if _accuracy(logits + start, labels) >= floor:
            best, high = start, middle
        else:
            low = middle
    return best


def _checked(
    logits: Tensor, labels: Tensor, free: Sequence[bool] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits in float64, labels in int64 and the mask of what may change, after a look at each."""
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f'logits have shape {tuple(logits.shape)} and labels {tuple(labels.shape)}; they must '
            'be (P, C) and (P,) with at least one pixel.'
        )
    if free is not None and len(free) != logits.shape[1]:
        raise ValueError(f'free has {len(free)} values and the logits {logits.shape[1]} classes.')
    labels = class_indices(labels)
    check_label_range(labels, logits.shape[1], None, on_gpu=True)
    logits = logits.detach().double()
    bad = int((~logits.isfinite()).any(1).sum())
    if bad:
        raise ValueError(f'{bad} pixels have nan or infinite logits: has the training diverged?')
    mask = logits.new_ones(logits.shape[1]) if free is None else logits.new_tensor(list(free))
    return logits, labels, mask


def _hits(probs: Tensor, labels: Tensor) -> Tensor:
    """Soft hits of each class, ``(C,)``."""
    own = probs.gather(1, labels[:, None])[:, 0]
    return own.new_zeros(probs.shape[1]).index_add(0, labels, own)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).double().mean())


def _minimise(objective: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """L-BFGS from ``start``; the gradient's largest entry ends below 1e-7."""
    point = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [point],
        max_iter=200,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn='strong_wolfe',
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(point)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return point.detach()
