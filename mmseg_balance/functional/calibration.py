"""Sums per confidence bin to calibration scores: Taubert's cal, ECE, MCE, NLL and Brier."""

import numpy as np

from mmseg_balance.functional.confidence_bins import UNIT, CalibrationSums


def calibration_score(count: np.ndarray, positive: np.ndarray, confidence: np.ndarray) -> float:
    r"""How near to the identity the reliability curve of all (pixel, class) pairs lies.

    .. math:: \mathrm{cal} = 1 - \frac{4}{N}\sum_{i=1}^{N} |p_i - \hat p_i|

    with p_i the share of positives in bin i and \hat p_i its mean probability (Taubert, eq. 7).

    Convention: classes are pooled; an empty bin adds nothing and still counts in N; 1 is perfect;
    nan if all bins are empty.

    Args:
        count: ``(C, N)`` or ``(N,)`` pairs per bin. positive, confidence: sums over them.

    Example:
        >>> calibration_score(np.array([3, 1]), np.array([1, 1]), np.array([.6, .8]))
        0.333...

    Reference:
        Taubert et al., "Loss Scheduling for Class-Imbalanced Image Segmentation Problems", 2020.
    """
    sums = [np.atleast_2d(part).sum(0) for part in (count, positive, confidence)]
    if not sums[0].sum():
        return float('nan')
    return float(1 - 4 / len(sums[0]) * bin_gaps(*sums).sum())


def bin_gaps(count: np.ndarray, positive: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Absolute difference of the share of positives and the mean probability; 0 in an empty bin.

    Example:
        >>> bin_gaps(np.array([4, 0]), np.array([1, 0]), np.array([2., 0.]))
        array([0.25, 0.  ])
    """
    return np.abs(positive - confidence) / np.maximum(count, 1)


def expected_calibration_error(
    count: np.ndarray, positive: np.ndarray, confidence: np.ndarray
) -> np.ndarray:
    r"""Mean gap over the bins of the last axis, each weighed by its share of the samples.

    .. math:: \mathrm{ECE} = \sum_i \frac{n_i}{\sum_j n_j} |p_i - \hat p_i|

    With the sums of the most probable class it is the top-label ECE (Guo et al., 2017, eq. 3);
    with those of one class it is that class's.

    Convention: nan where all bins are empty.

    Example:
        >>> expected_calibration_error(np.array([3, 1]), np.array([1, 1]), np.array([.6, .8]))
        array(0.15)
    """
    samples = count.sum(-1)
    error = np.abs(positive - confidence).sum(-1) / np.maximum(samples, 1)
    return np.where(samples > 0, error, np.nan)


def harmonic_mean(first: float, second: float) -> float:
    """``2ab / (a + b)``; 0 when a part is not positive, nan when one is nan.

    Taubert's S_acc and S_rec: of the calibration score and accuracy, or class-averaged recall.

    Example:
        >>> harmonic_mean(.5, 1.), harmonic_mean(-.2, .9)
        (0.666..., 0.0)
    """
    if np.isnan(first) or np.isnan(second):
        return float('nan')
    if first <= 0 or second <= 0:
        return 0.0
    return 2 * first * second / (first + second)


def calibration_scores(sums: CalibrationSums) -> dict[str, float]:
    """All calibration scores: ``cal, ECE, MCE, cwECE, NLL, Brier``.

    ECE and MCE, the mean and largest gap, are of the most probable class; cwECE is the mean over
    classes of each class's ECE; NLL is in nats per pixel; Brier is in [0, 2], summed over classes.

    Convention: all nan when no pixel was counted, or when one had a nan or infinite logit.

    Example:
        >>> import torch
        >>> from mmseg_balance.functional.confidence_bins import calibration_sums
        >>> sums = calibration_sums(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
        >>> {name: round(value, 4) for name, value in calibration_scores(sums).items()}
        {'cal': 1.0, 'ECE': 0.0, 'MCE': 0.0, 'cwECE': 0.0, 'NLL': 0.6931, 'Brier': 0.5}
    """
    if sums.not_finite or not sums.pixels:
        return dict.fromkeys(('cal', 'ECE', 'MCE', 'cwECE', 'NLL', 'Brier'), float('nan'))
    pairs = (sums.count, sums.positive, sums.confidence * UNIT)
    top = (sums.top_count, sums.top_correct, sums.top_confidence * UNIT)
    return {
        'cal': calibration_score(*pairs),
        'ECE': float(expected_calibration_error(*top)),
        'MCE': float(bin_gaps(*top).max()),
        'cwECE': float(expected_calibration_error(*pairs).mean()),
        'NLL': sums.nll * UNIT / sums.pixels,
        'Brier': sums.squared_error * UNIT / sums.pixels,
    }
