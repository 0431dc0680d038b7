"""From a sample of pixels to a logit map, no stronger than cross-validation over groups allows."""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from mmseg_balance.functional.temperature import fit_temperature, temperature_nll
from mmseg_balance.functional.vector_scaling import (
    fit_iou_bias,
    fit_recall_bias,
    fit_vector_scaling,
)
from mmseg_balance.recalibration.judgement import ImageSums
from mmseg_balance.recalibration.logit_map import LogitMap
from mmseg_balance.recalibration.partition import fold_of_groups
from mmseg_balance.recalibration.pixel_sample import PixelSample
from mmseg_balance.recalibration.settings import Settings

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def fit_map(
    sample: PixelSample,
    groups: np.ndarray,
    settings: Settings,
    prior: tuple[float, ...],
    threshold: float = 0.5,
) -> LogitMap:
    """The map that the settings ask for, weakened as far as cross-validation asks for it.

    A temperature, one number, is fitted and taken as it is, and so is the bias of the priors, which
    is not fitted. Everything else is fitted on four fifths of the groups and tried on the rest, in
    turn; of no change, a quarter, half, three quarters and all of the fitted change, that is taken
    which scores best there, the weaker of equals. Where mean recall is the score, those that cost
    more accuracy there than ``settings.accuracy_drop`` are left out.

    Args:
        sample: Pixels to fit on.
        groups: Group of every image, by ``sample.image``.
        settings: What is asked for.
        prior: One bias per channel of the head.
        threshold: Of a one-channel head.
    """
    channels = len(prior)
    if settings.method == 'temperature':
        temperature = settings.temperature or _fitted_temperature(sample)
        return LogitMap.of_temperature(temperature, prior)
    fold = fold_of_groups(groups[sample.image])
    if not fold.any():
        raise ValueError('the images to fit on are of one group; cross-validation needs two.')
    tried = [[] for _ in STRENGTHS]
    for held_out in range(fold.max() + 1):
        fitted = _fitted(sample.of(fold != held_out), settings, channels, threshold)
        rest = sample.of(fold == held_out)
        for sums, strength in zip(tried, STRENGTHS, strict=True):
            sums.append(sample_sums(rest, fitted.weakened(strength), threshold))
    best = best_strength([_pooled(sums) for sums in tried], settings)
    return _fitted(sample, settings, channels, threshold).weakened(best)


def best_strength(tried: list[ImageSums], settings: Settings) -> float:
    """The best of STRENGTHS by the sums under each of them."""
    scores = np.array([sums.score(settings.judge) for sums in tried])
    if settings.judge == 'mRecall':
        accuracy = np.array([sums.score('acc') for sums in tried])
        scores[accuracy < accuracy[0] - settings.accuracy_drop] = -np.inf
    return STRENGTHS[int(np.argmax(scores))]


def sample_sums(sample: PixelSample, logit_map: LogitMap, threshold: float = 0.5) -> ImageSums:
    """Confusions and NLL of each image of a sample under a map."""
    scale, bias = (torch.tensor(part) for part in logit_map.of_classes())
    logits = sample.logits * scale + bias
    if len(logit_map.bias) == 1:
        pred = (logits[:, 1].sigmoid() > logit_map.threshold(threshold)).long()
    else:
        pred = logits.argmax(1)
    names, image = np.unique(sample.image, return_inverse=True)
    number, classes = len(names), logits.shape[1]
    nll = nll_loss(logits.log_softmax(1), sample.labels, reduction='none').numpy()
    cell = (image * classes + sample.labels.numpy()) * classes + pred.numpy()
    return ImageSums(
        np.bincount(cell, minlength=number * classes**2).reshape(number, classes, classes),
        np.bincount(image, nll, number),
        np.bincount(image, minlength=number),
    )


def _pooled(parts: list[ImageSums]) -> ImageSums:
    return ImageSums(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ('confusions', 'nll', 'pixels')
        )
    )


def _fitted_temperature(sample: PixelSample) -> float:
    logits = sample.logits.T[None, ..., None]
    nll = partial(temperature_nll, logits, sample.labels[None, :, None], ignore_index=-1)
    return fit_temperature(lambda temperatures: nll(temperatures=temperatures)).temperature


def _fitted(sample: PixelSample, settings: Settings, channels: int, threshold: float) -> LogitMap:
    """The whole change that a method asks for on these pixels."""
    logits, options = sample.logits, {}
    if channels == 1:
        options['free'] = (False, True)
    if settings.method == 'recall-bias':
        options['accuracy_drop'] = settings.accuracy_drop
        if channels == 1:  # the floor is that of the head's own decision
            logits = logits - logits.new_tensor([0.5, threshold]).logit(eps=1e-6)
    found = _FITS[settings.method](logits, sample.labels, **options)
    scale, bias = found if isinstance(found, tuple) else (torch.ones_like(found), found)
    if channels == 1 and not scale[1] > 0:
        raise ValueError(
            f'the fitted scale is {float(scale[1]):.3g}: the logits say the opposite of these '
            'labels; are classes and data set those of the training?'
        )
    return LogitMap(_last(scale, channels), _last(bias, channels))


def _last(values: Tensor, channels: int) -> tuple[float, ...]:
    return tuple(values[-channels:].tolist())


_FITS = {
    'class-temperature': partial(fit_vector_scaling, fit_bias=False),
    'vector': fit_vector_scaling,
    'iou-bias': fit_iou_bias,
    'recall-bias': fit_recall_bias,
}
