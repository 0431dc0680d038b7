"""Calibration sums and scores against loops, torchmetrics, numbers from elsewhere and limits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmseg_balance.functional import confidence_bins
from mmseg_balance.functional.calibration import (
    calibration_score,
    calibration_scores,
    harmonic_mean,
)
from mmseg_balance.functional.confidence_bins import UNIT, CalibrationSums, calibration_sums
from tests.support import references_metrics as reference

SCORES = ('cal', 'ECE', 'MCE', 'cwECE', 'NLL', 'Brier')


def sample(channels=5, dtype=torch.float32):
    logits = (2 * torch.randn(2, channels, 11, 13)).to(dtype)
    labels = torch.randint(0, max(channels, 2), (2, 11, 13))
    labels[0, :3] = 255
    return logits, labels


def assert_same_sums(first, second):
    for name, value in vars(first).items():
        np.testing.assert_array_equal(value, getattr(second, name), err_msg=name)


@pytest.mark.parametrize('num_bins', [1, 7, 10])
@pytest.mark.parametrize('channels', [1, 2, 5])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16])
def test_agrees_with_loops(channels, num_bins, dtype):
    logits, labels = sample(channels, dtype)
    sums = calibration_sums(logits, labels, num_bins)
    expected = reference.calibration(reference.rows_of(logits, labels), num_bins)
    assert sums.count.tolist() == expected['count']
    assert sums.positive.tolist() == expected['positive']
    scores = calibration_scores(sums)
    assert {name: scores[name] for name in SCORES} == pytest.approx(
        {name: expected[name] for name in SCORES}, abs=1e-6
    )


@pytest.mark.parametrize('margin', [6, 7, 8.5])
def test_brier_score_of_many_sure_pixels(margin):
    """The squares were summed one by one in float32: 1.2e-5 became -4e-4."""
    labels = torch.randint(0, 2, (1, 512, 512))
    logits = torch.zeros(1, 2, 512, 512).scatter_(1, labels.unsqueeze(1), margin)
    wrong = torch.tensor(margin, dtype=torch.float64).neg().sigmoid().item()
    score = calibration_scores(calibration_sums(logits, labels))['Brier']
    assert score == pytest.approx(2 * wrong**2, abs=2e-7)


def test_parity_with_numbers_from_elsewhere():
    parity = np.load(Path(__file__).parents[1] / 'parity' / 'losses.npz')
    logits, labels = torch.tensor(parity['logits']), torch.tensor(parity['labels'])
    sums = calibration_sums(logits, labels)
    np.testing.assert_array_equal(sums.count.sum(0), parity['calibration.count'])
    np.testing.assert_array_equal(sums.positive.sum(0), parity['calibration.positive'])
    np.testing.assert_allclose(
        sums.confidence.sum(0) * UNIT, parity['calibration.confidence'], atol=1e-6
    )
    scores = calibration_scores(sums)
    for name, key in (('cal', 'cal'), ('ECE', 'ece_top_label'), ('MCE', 'mce_top_label')):
        assert scores[name] == pytest.approx(parity[f'calibration.{key}'].item(), abs=1e-6)


@pytest.mark.parametrize('num_bins', [10, 15])
def test_top_label_errors_are_those_of_torchmetrics(num_bins):
    classification = pytest.importorskip('torchmetrics.functional.classification')
    logits, labels = sample(6)
    scores = calibration_scores(calibration_sums(logits, labels, num_bins))
    for name, norm in (('ECE', 'l1'), ('MCE', 'max')):
        expected = classification.multiclass_calibration_error(
            logits.double().softmax(1), labels, 6, n_bins=num_bins, norm=norm, ignore_index=255
        )
        assert scores[name] == pytest.approx(expected.item(), abs=1e-6)


def test_probabilities_exactly_zero_one_and_on_an_edge():
    # Bins of width 1/4: 0 -> 0, 0.25 -> 1, 0.5 -> 2, 0.75 -> 3, 1 -> 3 (and no bin after it).
    prob = torch.tensor([[1.0, 0.0, 0.25, 0.5, 0.75], [0.0, 1.0, 0.75, 0.5, 0.25]])[None, :, None]
    labels = torch.tensor([[[0, 0, 1, 1, 0]]])
    sums = calibration_sums(prob, labels, 4, probabilities=True)
    assert sums.count.tolist() == [[1, 1, 1, 2], [1, 1, 1, 2]]
    assert sums.positive.tolist() == [[1, 0, 0, 2], [0, 0, 1, 1]]
    assert np.isfinite(calibration_scores(sums)['NLL'])


@pytest.mark.parametrize('scale', [40.0, 1e4])
def test_saturated_logits(scale):
    # float32 softmax gives exactly 1 and 0 here; one pixel in four is wrong.
    logits = scale * torch.tensor([1.0, 1.0, 1.0, 1.0]).view(1, 1, 1, 4)
    logits = torch.cat([logits, torch.zeros_like(logits)], 1)
    labels = torch.tensor([[[0, 0, 0, 1]]])
    sums = calibration_sums(logits, labels)
    assert sums.count.sum(0).tolist() == [4] + 8 * [0] + [4]
    scores = calibration_scores(sums)
    assert scores['ECE'] == pytest.approx(0.25)
    assert scores['NLL'] == pytest.approx(scale / 4)


def test_sigmoid_values_of_a_one_channel_head():
    logits, labels = sample(1)
    from_logits = calibration_scores(calibration_sums(logits, labels))
    sums = calibration_sums(logits.sigmoid(), labels, probabilities=True)
    assert calibration_scores(sums) == pytest.approx(from_logits, abs=1e-5)
    sure = calibration_sums(
        torch.tensor([[[[0.0, 1.0, 1.0]]]]), torch.tensor([[[0, 1, 0]]]), probabilities=True
    )
    assert sure.count.tolist() == [[2] + 8 * [0] + [1], [1] + 8 * [0] + [2]]
    assert calibration_scores(sure)['NLL'] == pytest.approx(-np.log(2.0**-24) / 3, rel=1e-5)


def test_a_tie_goes_to_the_first_class_as_argmax_does():
    logits = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0], [0.0, 2.0, 0.0]])[None, :, None]
    for label, correct in ((0, 3), (1, 0), (2, 0)):
        sums = calibration_sums(logits, torch.full((1, 1, 3), label))
        assert sums.top_correct.sum() == correct


@pytest.mark.parametrize('probabilities', [False, True])
def test_hits_are_those_of_the_prediction(probabilities):
    logits, labels = sample()
    scores = logits.softmax(1) if probabilities else logits
    best = logits.argmax(1)
    sums = calibration_sums(scores, labels, probabilities=probabilities)
    assert sums.hits.tolist() == [int(((best == c) & (labels == c)).sum()) for c in range(5)]
    assert sums.hits.sum() == sums.top_correct.sum()
    assert_same_sums(
        sums, calibration_sums(scores, labels, probabilities=probabilities, prediction=best)
    )
    other = best.clone()
    other[1, 4] = (best[1, 4] + 1) % 5
    theirs = calibration_sums(scores, labels, probabilities=probabilities, prediction=other)
    assert theirs.not_top == 13
    assert theirs.hits.sum() == ((other == labels) & (labels != 255)).sum()
    np.testing.assert_array_equal(theirs.top_correct, sums.top_correct)


def test_ignored_pixels_count_for_nothing():
    logits, labels = sample()
    sums = calibration_sums(logits, labels)
    changed = logits.clone()
    changed[0, :, :3] = float('nan')
    assert_same_sums(sums, calibration_sums(changed, labels))
    assert sums.pixels == (labels != 255).sum()


def test_no_valid_pixel_gives_nan():
    logits, labels = sample()
    sums = calibration_sums(logits, torch.full_like(labels, 255))
    assert not sums.count.any()
    assert all(np.isnan(value) for value in calibration_scores(sums).values())


def test_nan_logits_are_counted_and_give_nan():
    logits, labels = sample()
    logits[1, 2, 4, 5], logits[1, 0, 6, 6] = float('nan'), float('inf')
    sums = calibration_sums(logits, labels)
    assert sums.not_finite == 2
    assert sums.pixels == (labels != 255).sum() - 2
    assert all(np.isnan(value) for value in calibration_scores(sums).values())


def test_minus_infinity_is_probability_zero():
    logits = torch.tensor([[[[0.0]], [[-float('inf')]]]])
    sums = calibration_sums(logits, torch.tensor([[[0]]]))
    assert calibration_scores(sums)['NLL'] == 0
    assert sums.not_finite == 0


def test_a_chunk_of_labels_of_probability_zero(monkeypatch):
    """The sum of a GPU's chunk overflowed int64, and NLL was negative."""
    pixels = 2**19
    monkeypatch.setitem(confidence_bins.CHUNK_ELEMENTS, 'cpu', 2 * pixels)
    logits = torch.tensor([0.0, -float('inf')]).view(1, 2, 1, 1).expand(1, 2, 1, pixels)
    sums = calibration_sums(logits, torch.ones(1, 1, pixels, dtype=torch.long))
    assert sums.nll == pixels * 2**20 * 2**24
    assert calibration_scores(sums)['NLL'] == 2**20


def test_sums_do_not_depend_on_order_or_grouping():
    parts = [calibration_sums(*sample()) for _ in range(6)]
    forwards = sum(parts[1:], parts[0])
    backwards = (parts[5] + parts[3]) + (parts[1] + (parts[0] + (parts[4] + parts[2])))
    assert_same_sums(forwards, backwards)


def test_sums_do_not_depend_on_the_chunk(monkeypatch):
    logits, labels = sample()
    whole = calibration_sums(logits, labels)
    monkeypatch.setitem(confidence_bins.CHUNK_ELEMENTS, 'cpu', 50)
    parts = calibration_sums(logits, labels)
    np.testing.assert_array_equal(whole.count, parts.count)
    assert calibration_scores(parts) == pytest.approx(calibration_scores(whole), abs=1e-6)


def test_logits_that_are_being_trained():
    logits, labels = sample()
    assert_same_sums(
        calibration_sums(logits.clone().requires_grad_(), labels), calibration_sums(logits, labels)
    )


def test_sums_of_channels_last_logits():
    logits, labels = sample()
    sums = calibration_sums(logits, labels)
    apart = calibration_sums(logits.to(memory_format=torch.channels_last), labels)
    np.testing.assert_array_equal(apart.count, sums.count)
    assert calibration_scores(apart) == pytest.approx(calibration_scores(sums), abs=1e-6)


def test_a_billion_pixels_keep_their_precision():
    part = calibration_sums(*sample())
    total = part
    for _ in range(22):  # 4 million times the image
        total = total + total
    assert calibration_scores(total) == calibration_scores(part)


def test_calibration_score_limits():
    # All pairs at probability i/10 + 0.05 and true as often: 1. The opposite: the paper's red line.
    count = np.full(10, 100)
    middle = np.arange(10) * 10 + 5
    assert calibration_score(count, middle, middle) == 1
    assert calibration_score(count, middle[::-1], middle) == pytest.approx(-1)
    half = calibration_score(count, np.full(10, 50), middle)
    assert half == pytest.approx(0)


def test_an_empty_bin_adds_nothing():
    # One filled bin, gap 0.3: cal = 1 - 4/10 * 0.3.
    count, positive, confidence = np.zeros((3, 10))
    count[4], positive[4], confidence[4] = 10, 7, 4
    assert calibration_score(count, positive, confidence) == pytest.approx(0.88)


def test_harmonic_mean():
    assert harmonic_mean(0.5, 0.75) == pytest.approx(0.6)
    assert harmonic_mean(-0.1, 0.9) == harmonic_mean(0.9, 0.0) == 0
    assert np.isnan(harmonic_mean(float('nan'), 0.5))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 3)), r'labels .*\(1, 2, 3\)'),
        (
            (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2), 10, 255, False, torch.zeros(1, 2)),
            r'prediction\) \(1, 2, 2\), \(1, 2\)',
        ),
        ((torch.zeros(3, 2, 2), torch.zeros(2, 2)), 'expected'),
        ((torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 3)), 'labels: label 3'),
        ((torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2), 0), 'num_bins is 0'),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        calibration_sums(*arguments)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('value', [1.5, -0.5])
def test_logits_in_place_of_probabilities_are_refused(channels, value):
    """They ended in PyTorch's error on bincount, or in scores where none was negative."""
    scores = torch.full((1, channels, 2, 2), value)
    with pytest.raises(ValueError, match=r'hold 1.5|hold -0.5'):
        calibration_sums(scores, torch.zeros(1, 2, 2).long(), probabilities=True)


def test_labels_of_one_byte_with_an_ignored_label_that_they_cannot_hold():
    """255 was taken for -1, which is 255 in a byte."""
    labels = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    with pytest.raises(ValueError, match='labels: label 255'):
        calibration_sums(torch.zeros(1, 2, 1, 2), labels, ignore_index=-1)


def test_zeros_is_neutral():
    part = calibration_sums(*sample())
    assert_same_sums(part + CalibrationSums.zeros(5, 10), part)
