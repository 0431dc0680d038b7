"""Temperature scaling: the one number that calibrates overconfident logits, fitted by NLL."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmseg_balance.functional.confidence_bins import CHUNK_ELEMENTS
from mmseg_balance.functional.exponential import exp_
from mmseg_balance.functional.labels import check_label_range, check_shapes, class_indices
from mmseg_balance.functional.logits import as_multiclass, widen

# Temperatures tried per pass over the data: the bracket shrinks by this number less one.
TRIALS = 9
# The last bracket's width in log T; the root of the chord is then within about 1e-4.
WIDTH = 0.02


@dataclass(frozen=True)
class TemperatureFit:
    """The outcome of :func:`fit_temperature`."""

    temperature: float
    nll: float
    passes: int


def temperature_nll(
    logits: Tensor, labels: Tensor, temperatures: np.ndarray, ignore_index: int = 255
) -> np.ndarray:
    r"""Sum over pixels of the NLL under each temperature, and of its derivative.

    .. math::
        \ell(T) = -\log \mathrm{softmax}(z / T)_y, \quad
        \frac{d\ell}{d\log T} = \frac{1}{T}\Bigl(z_y - \sum_c p_c z_c\Bigr)

    Convention: C = 1 is a sigmoid head with logits ``(0, z)``; ignored pixels are left out;
    float32 (float64 for float64 logits) per pixel, float64 sums.

    Args:
        logits: ``(N, C, H, W)``. labels: ``(N, H, W)`` integers.
        temperatures: ``(K,)`` positive.
        ignore_index: Label of the pixels to leave out.

    Returns:
        ``(3, K)`` float64: NLL in nats, derivative with respect to log T, number of pixels.

    Raises:
        ValueError: shapes that do not match, or a label out of range.

    Example:
        >>> logits, labels = torch.tensor([[[[2.]], [[0.]]]]), torch.tensor([[[0]]])
        >>> temperature_nll(logits, labels, np.array([1., 2.])).round(4)
        array([[0.1269, 0.3133], [0.2384, 0.2689], [1. , 1. ]])
    """
    check_shapes(logits, labels)
    logits = widen(as_multiclass(logits)).detach()
    num_classes = logits.shape[1]
    step = max(CHUNK_ELEMENTS.get(logits.device.type, CHUNK_ELEMENTS['cuda']) // num_classes, 1)
    sums = np.zeros((3, len(temperatures)))
    for image, label in zip(logits.flatten(2), labels.flatten(1), strict=True):
        for scores, classes in zip(image.split(step, 1), label.split(step), strict=True):
            classes = class_indices(classes)
            valid = classes != ignore_index
            scores, classes = scores[:, valid], classes[valid]
            check_label_range(classes, num_classes, ignore_index, on_gpu=True)
            sums += _chunk_nll(scores, classes, temperatures)
    return sums


def _chunk_nll(scores: Tensor, labels: Tensor, temperatures: np.ndarray) -> np.ndarray:
    # The largest logit becomes 0: probabilities stay the same and no exponential overflows.
    scores = scores - scores.amax(0)
    own = scores.gather(0, labels[None])[0]
    result = np.empty((3, len(temperatures)))
    for index, temperature in enumerate(temperatures):
        weight = exp_(scores / temperature)
        total = weight.sum(0)
        mean_logit = (weight * scores).sum(0) / total
        nll = (total.log() - own / temperature).sum(dtype=torch.float64)
        slope = (own - mean_logit).sum(dtype=torch.float64) / temperature
        result[:, index] = float(nll), float(slope), labels.numel()
    return result


def fit_temperature(
    objective: Callable[[np.ndarray], np.ndarray], bounds: tuple[float, float] = (0.05, 20.0)
) -> TemperatureFit:
    r"""Find the temperature of least NLL in a few passes over data that need not fit in memory.

    .. math:: T^* = \arg\min_T \sum_x -\log \mathrm{softmax}(z_x / T)_{y_x}

    The NLL is convex in 1/T, so in log T it falls and then rises, and the sign of its derivative
    says on which side of the minimum a temperature lies. Each pass tries nine temperatures,
    evenly spaced in log T, and keeps the interval where the sign changes.

    Args:
        objective: ``(K,)`` temperatures to the ``(3, K)`` sums of :func:`temperature_nll` over all
            data; one call is one pass.
        bounds: Smallest and largest temperature allowed.

    Raises:
        ValueError: if there is no pixel, the NLL is not finite, or it is least at a bound; the
            message says which.

    Example:
        >>> logits = torch.tensor([[[[4., 4., 4., 4.]], [[0., 0., 0., 0.]]]])
        >>> labels = torch.tensor([[[0, 0, 0, 1]]])
        >>> fit = fit_temperature(lambda t: temperature_nll(logits, labels, t))
        >>> round(fit.temperature, 3), round(4 / float(np.log(3)), 3)
        (3.641, 3.641)

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2.
    """
    low, high = bounds
    if not 0 < low < high:
        raise ValueError(f'bounds are {bounds}; they must be positive and in ascending order.')
    bracket = np.log([low, high])
    passes = 0
    while True:
        points = np.linspace(*bracket, TRIALS)
        nll, slope, pixels = objective(np.exp(points))
        passes += 1
        _check_pass(nll, slope, pixels, bounds, first=passes == 1)
        # Rising at the last point: checked in the first pass, and by construction in the others.
        right = max(int(np.argmax([*(slope[:-1] >= 0), True])), 1)
        left = right - 1
        bracket = points[[left, right]]
        if bracket[1] - bracket[0] < WIDTH:
            share = np.clip(-slope[left] / max(slope[right] - slope[left], 1e-300), 0, 1)
            best = bracket[0] + share * (bracket[1] - bracket[0])
            value = min(nll[left], nll[right]) / pixels[0]
            return TemperatureFit(float(np.exp(best)), float(value), passes)


def _check_pass(nll, slope, pixels, bounds, first: bool) -> None:
    if not pixels[0]:
        raise ValueError('no temperature can be fitted: the images have no labelled pixel.')
    if not (np.isfinite(nll).all() and np.isfinite(slope).all()):
        raise ValueError(
            'no temperature can be fitted: logits are nan or infinite; has the training diverged?'
        )
    if first and slope[0] >= 0:
        raise ValueError(
            f'the NLL is least at or below the smallest temperature allowed, {bounds[0]:g}: the '
            'prediction is right on almost every pixel that was fitted, or the logits of a hardly '
            'trained model are all alike; fit on images that the model was not trained on, or lower '
            'the bound.'
        )
    if first and slope[-1] <= 0:
        raise ValueError(
            f'the NLL is least at or above the largest temperature allowed, {bounds[1]:g}: the '
            'logits say next to nothing about these labels; check that checkpoint, classes and '
            'data set belong together, or raise the bound.'
        )
