"""Interpolation by rows against ``F.interpolate``, and losses on logits of low resolution."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_balance.functional.logits import PairedLogits, UpsampledLogits
from mmseg_balance.functional.primitives import overlap_sums, pixel_nll, upsampled
from mmseg_balance.functional.primitives.interpolation import add_rows_gradient, upsample_rows
from tests.support.losses import CASES, CLASSES

SIZES = [
    ((5, 7), (20, 33)),
    ((1, 1), (9, 4)),
    ((1, 6), (9, 3)),
    ((20, 30), (9, 7)),
    ((4, 4), (4, 9)),
    ((3, 5), (1, 1)),
]
SUPPORTED = [case for case in CASES if case.build().supports_low_resolution]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('low', 'size'), SIZES)
def test_rows_are_those_of_interpolate(low, size, align_corners):
    logits = torch.randn(2, 3, *low, dtype=torch.float64, requires_grad=True)
    expected = F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    factor = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad((expected * factor).sum(), logits)
    total = torch.zeros_like(logits)
    for top in range(0, size[0], 4):
        rows = slice(top, min(top + 4, size[0]))
        found = upsample_rows(logits.detach(), rows, size, align_corners)
        torch.testing.assert_close(found, expected[:, :, rows])
        add_rows_gradient(total, factor[:, :, rows], rows, size, align_corners)
    torch.testing.assert_close(total, gradient)


@pytest.mark.parametrize('tile', [60, 1 << 19])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('low', 'size'), SIZES)
def test_primitives_interpolate_inside(low, size, align_corners, tile, monkeypatch):
    monkeypatch.setattr(upsampled, 'CPU_TILE', tile)
    logits = torch.randn(2, 3, *low, dtype=torch.float64, requires_grad=True)
    full = F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    labels = torch.randint(3, (2, *size))
    labels[:, :1] = 255
    weight = torch.rand(2, *size, dtype=torch.float64)

    def values(logits):
        nll, hits = pixel_nll(logits, labels, return_hits=True)
        sums = overlap_sums(logits, labels, power=1.5, pixel_weight=weight, per_image=True)
        return nll, hits, *sums

    def gradient(found):
        score = (found[0] * weight).sum() + (found[2] * 2 - found[3] ** 2).sum()
        return torch.autograd.grad(score, logits, retain_graph=True)[0]

    expected, found = values(full), values(UpsampledLogits(logits, size, align_corners))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found), gradient(expected))


def test_sizes_that_differ_must_be_meant():
    with pytest.raises(ValueError, match='low resolution go into UpsampledLogits'):
        pixel_nll(torch.zeros(1, 2, 3, 3), torch.zeros(1, 6, 6, dtype=torch.long))


@pytest.mark.parametrize('primitive', [pixel_nll, overlap_sums])
@pytest.mark.parametrize('low', [(3, 3), (6, 6)])
def test_the_size_that_low_resolution_stands_for_is_that_of_the_labels(primitive, low):
    """The size was not looked at: labels of another one were taken without a word."""
    logits = UpsampledLogits(torch.zeros(1, 2, *low), (9, 9), align_corners=False)
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    for given in (logits, PairedLogits(logits)):
        with pytest.raises(ValueError, match=r'logits \(1, 2, 9, 9\) and labels \(1, 6, 6\)'):
            primitive(given, labels)


@pytest.mark.parametrize('case', SUPPORTED, ids=lambda case: case.name)
def test_losses_of_low_resolution(case):
    loss = case.build()
    low = torch.randn(2, CLASSES, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(CLASSES, (2, 17, 21))
    labels[0, :3] = 255
    logits = UpsampledLogits(low, (17, 21), False)
    expected, found = loss(logits.full, labels), loss(logits, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, low), torch.autograd.grad(expected, low))


def test_most_losses_support_low_resolution():
    names = {case.config['type'] for case in CASES} - {case.config['type'] for case in SUPPORTED}
    assert names == {
        'LDAMLoss',
        'LovaszSoftmaxLoss',
        'BalancedVariationLoss',
        'SoftmaxSeesawLoss',
        'CenterlineDiceLoss',
    }
