"""The temperature fit: derivative, minimum, bounds, and one answer for streamed or whole data."""

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from mmseg_balance.functional.temperature import fit_temperature, temperature_nll
from tests.support import references_metrics as reference


def sample(channels=4, sharpness=3.0):
    """Logits whose true temperature is known: labels are drawn from softmax(logits/sharpness)."""
    logits = sharpness * torch.randn(1, channels, 40, 50)
    full = logits if channels > 1 else torch.cat([torch.zeros_like(logits), logits], 1)
    probs = (full / sharpness).softmax(1)[0].flatten(1).T
    labels = torch.multinomial(probs, 1).reshape(1, 40, 50)
    return logits, labels


def rows(logits, labels):
    full = logits if logits.shape[1] > 1 else torch.cat([torch.zeros_like(logits), logits], 1)
    flat = full[0].flatten(1).T.double().tolist()
    return [
        (row, label)
        for row, label in zip(flat, labels.flatten().tolist(), strict=True)
        if label != 255
    ]


@pytest.mark.parametrize('channels', [1, 4])
def test_nll_and_slope(channels):
    logits, labels = sample(channels)
    labels[0, :5] = 255
    nll, slope, pixels = temperature_nll(logits, labels, np.array([0.7, 2.0]))
    cases = rows(logits, labels)
    for index, temperature in enumerate((0.7, 2.0)):
        expected = reference.temperature_nll(cases, temperature)
        assert nll[index] / pixels[index] == pytest.approx(expected, rel=1e-6)
        step = 1e-4
        rise = (
            reference.temperature_nll(cases, temperature * np.exp(step))
            - reference.temperature_nll(cases, temperature * np.exp(-step))
        ) / (2 * step)
        assert slope[index] / pixels[index] == pytest.approx(rise, abs=1e-5)
    assert pixels.tolist() == [35 * 50] * 2


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('sharpness', [0.4, 3.0])
def test_finds_the_minimum(channels, sharpness):
    logits, labels = sample(channels, sharpness)
    fit = fit_temperature(lambda t: temperature_nll(logits, labels, t))
    cases = rows(logits, labels)
    best = minimize_scalar(
        lambda u: reference.temperature_nll(cases, np.exp(u)),
        bounds=(-3, 3),
        method='bounded',
        options=dict(xatol=1e-6),
    )
    assert np.log(fit.temperature) == pytest.approx(best.x, abs=2e-4)
    assert fit.nll == pytest.approx(best.fun, abs=1e-4)
    assert fit.temperature == pytest.approx(sharpness, rel=0.15)
    assert fit.passes == 3


def test_streaming_changes_nothing():
    images = [sample() for _ in range(3)]
    logits, labels = (torch.cat(part) for part in zip(*images, strict=True))
    whole = fit_temperature(lambda t: temperature_nll(logits, labels, t))
    parts = fit_temperature(lambda t: sum(temperature_nll(*image, t) for image in images))
    assert parts.temperature == pytest.approx(whole.temperature, rel=1e-6)


def test_ignored_pixels_count_for_nothing():
    logits, labels = sample()
    labels[:, 20:] = 255
    fit = fit_temperature(lambda t: temperature_nll(logits, labels, t))
    logits[:, :, 20:] = 1e6
    again = fit_temperature(lambda t: temperature_nll(logits, labels, t))
    assert again == fit


def test_says_why_there_is_no_temperature():
    logits, labels = sample()

    def fit(logits, labels, **options):
        return fit_temperature(lambda t: temperature_nll(logits, labels, t), **options)

    with pytest.raises(ValueError, match='right on almost every pixel'):
        fit(logits, logits.argmax(1))
    with pytest.raises(ValueError, match='say next to nothing about these labels'):
        fit(logits, logits.argmin(1))
    with pytest.raises(ValueError, match='no labelled pixel'):
        fit(logits, torch.full_like(labels, 255))
    with pytest.raises(ValueError, match='nan or infinite'):
        fit(logits * float('nan'), labels)
    with pytest.raises(ValueError, match=r'bounds are \(2, 1\)'):
        fit(logits, labels, bounds=(2, 1))


def test_labels_of_another_shape_gave_a_plausible_number():
    with pytest.raises(ValueError, match=r'logits \(1, 2, 3, 4\) and labels \(1, 4, 3\)'):
        temperature_nll(torch.zeros(1, 2, 3, 4), torch.zeros(1, 4, 3), np.ones(1))


def test_labels_of_one_byte_with_an_ignored_label_that_they_cannot_hold():
    """255 was taken for -1, which is 255 in a byte."""
    labels = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    with pytest.raises(ValueError, match='labels: label 255'):
        temperature_nll(torch.zeros(1, 2, 1, 2), labels, np.ones(1), ignore_index=-1)


def test_logits_with_a_graph_are_read_without_it():
    logits, labels = torch.randn(1, 3, 4, 5), torch.randint(3, (1, 4, 5))
    expected = temperature_nll(logits, labels, np.ones(1))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        got = temperature_nll(logits.requires_grad_(), labels, np.ones(1))
    np.testing.assert_array_equal(got, expected)
