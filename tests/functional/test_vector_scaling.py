"""Vector scaling and score-fitted biases against independent optimisers and counts."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from mmseg_balance.functional.vector_scaling import (
    fit_iou_bias,
    fit_recall_bias,
    fit_vector_scaling,
)

CLASSES = 4


def sample(pixels=400, seed=0, scale=(0.5, 1.5, 1.0, 2.0), bias=(0.0, 1.0, -1.0, 0.5)):
    """Logits, and labels drawn from the softmax of their scaled and shifted values."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (pixels, CLASSES))
    true = logits * scale + bias
    labels = (true + rng.gumbel(size=true.shape)).argmax(1)
    return logits, labels


def reference_nll(step, logits, labels, ridge, with_bias):
    """NLL with ridge and its gradient, in NumPy, from the formula."""
    scale = 1 + step[:CLASSES]
    bias = step[CLASSES:] if with_bias else 0
    values = logits * scale + bias
    values = values - values.max(1, keepdims=True)
    probs = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    rows = np.arange(len(labels))
    nll = -np.log(probs[rows, labels]).mean() + ridge / 2 * (step**2).sum()
    error = probs.copy()
    error[rows, labels] -= 1
    parts = [(error * logits).mean(0)] + ([error.mean(0)] if with_bias else [])
    return nll, np.concatenate(parts) + ridge * step


@pytest.mark.parametrize('with_bias', [True, False])
def test_vector_scaling_is_the_minimum_that_scipy_finds(with_bias):
    logits, labels = sample()
    found = minimize(
        reference_nll,
        np.zeros(CLASSES * (1 + with_bias)),
        (logits, labels, 1e-3, with_bias),
        jac=True,
        method='L-BFGS-B',
        options=dict(ftol=1e-15, gtol=1e-9, maxiter=1000),
    )
    scale, bias = fit_vector_scaling(
        torch.from_numpy(logits), torch.from_numpy(labels), fit_bias=with_bias
    )
    np.testing.assert_allclose(scale, 1 + found.x[:CLASSES], atol=1e-5)
    np.testing.assert_allclose(bias, found.x[CLASSES:] if with_bias else np.zeros(4), atol=1e-5)


def test_vector_scaling_finds_the_true_map_of_many_pixels():
    scale, bias = (0.5, 1.5, 1.0, 2.0), (0.0, 1.0, -1.0, 0.5)
    logits, labels = sample(40_000, scale=scale, bias=bias)
    found_scale, found_bias = fit_vector_scaling(
        torch.from_numpy(logits), torch.from_numpy(labels), ridge=1e-6
    )
    np.testing.assert_allclose(found_scale, scale, atol=0.06)
    # A constant added to all biases changes nothing.
    np.testing.assert_allclose(found_bias - found_bias.mean(), bias - np.mean(bias), atol=0.1)


def test_a_class_without_a_pixel_has_a_finite_map():
    logits, labels = sample()
    labels[labels == 3] = 2
    scale, bias = fit_vector_scaling(torch.from_numpy(logits), torch.from_numpy(labels))
    assert torch.isfinite(scale).all()
    assert torch.isfinite(bias).all()


def test_what_is_not_free_stays():
    logits, labels = sample()
    pair = np.stack([np.zeros(len(logits)), logits[:, 0]], 1)
    arguments = torch.from_numpy(pair), torch.from_numpy(labels % 2)
    scale, bias = fit_vector_scaling(*arguments, free=(False, True))
    assert (scale[0], bias[0]) == (1, 0)
    assert fit_iou_bias(*arguments, free=(False, True))[0] == 0


def soft_miou(bias, logits, labels):
    values = np.exp(logits + bias - (logits + bias).max(1, keepdims=True))
    probs = values / values.sum(1, keepdims=True)
    scores = []
    for c in range(CLASSES):
        hit = probs[labels == c, c].sum()
        scores.append(hit / (probs[:, c].sum() + (labels == c).sum() - hit))
    return np.mean(scores)


def test_the_iou_bias_is_the_maximum_that_nelder_mead_finds():
    logits, labels = sample(300, scale=(1.0,) * 4, bias=(0.0, 2.0, -1.0, 0.5))

    def objective(bias):
        return 1e-3 / 2 * (bias**2).sum() - soft_miou(bias, logits, labels)

    found = minimize(
        objective,
        np.zeros(CLASSES),
        method='Nelder-Mead',
        options=dict(xatol=1e-7, fatol=1e-12, maxiter=5000, maxfev=5000),
    )
    bias = fit_iou_bias(torch.from_numpy(logits), torch.from_numpy(labels))
    np.testing.assert_allclose(bias, found.x, atol=1e-4)
    assert soft_miou(bias.numpy(), logits, labels) > soft_miou(np.zeros(4), logits, labels)


@pytest.mark.parametrize('drop', [0.0, 0.02, 0.1])
def test_the_recall_bias_keeps_the_floor_and_gains_recall(drop):
    rng = np.random.default_rng(0)
    labels = rng.choice(CLASSES, 5000, p=(0.7, 0.2, 0.07, 0.03))
    logits = rng.normal(0, 1, (5000, CLASSES)) + np.log((0.7, 0.2, 0.07, 0.03))
    logits[np.arange(5000), labels] += 1.5

    def scores(bias):
        pred = (logits + bias).argmax(1)
        recall = [np.mean(pred[labels == c] == c) for c in range(CLASSES)]
        return np.mean(pred == labels), np.mean(recall)

    bias = fit_recall_bias(torch.from_numpy(logits), torch.from_numpy(labels), drop).numpy()
    (acc_before, recall_before), (acc, recall) = scores(np.zeros(4)), scores(bias)
    assert acc >= acc_before - drop
    assert recall >= recall_before
    if drop:
        assert recall > recall_before + drop / 2


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda z, y: fit_vector_scaling(z[:0], y[:0]), 'at least one pixel'),
        (lambda z, y: fit_vector_scaling(z[None], y), r'must be \(P, C\)'),
        (lambda z, y: fit_vector_scaling(z, y, ridge=-1), 'ridge is -1'),
        (lambda z, y: fit_iou_bias(z, y, free=[True]), 'free has 1 values'),
        (lambda z, y: fit_recall_bias(z, y, 1.0), r'accuracy_drop is 1.0'),
    ],
)
def test_refuses(call, message):
    logits, labels = sample(5)
    with pytest.raises(ValueError, match=message):
        call(torch.from_numpy(logits), torch.from_numpy(labels))


@pytest.mark.parametrize('fit', [fit_vector_scaling, fit_iou_bias, fit_recall_bias])
def test_logits_that_are_not_finite_gave_nan_or_a_fit_without_end(fit):
    logits = torch.tensor([[float('nan'), 1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match='1 pixels have nan or infinite logits'):
        fit(logits, torch.tensor([0, 1]))


@pytest.mark.parametrize('fit', [fit_vector_scaling, fit_iou_bias, fit_recall_bias])
@pytest.mark.parametrize('label', [-100, 7])
def test_a_label_that_is_no_class_is_named(fit, label):
    """-100 was left out, as cross entropy does by itself."""
    with pytest.raises(ValueError, match=f'labels: label {label} '):
        fit(torch.zeros(2, 2), torch.tensor([0, label]))


def test_labels_of_one_byte():
    logits, labels = (torch.from_numpy(part) for part in sample(50))
    assert torch.equal(fit_iou_bias(logits, labels.byte()), fit_iou_bias(logits, labels))
