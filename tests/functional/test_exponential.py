"""The exponential over exp2: as exact as a softmax needs, and exact where it matters."""

import math

import pytest
import torch

from mmseg_balance.functional import pixel_nll
from mmseg_balance.functional.exponential import exp_


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_relative_error(dtype):
    x = torch.linspace(-80, 80, 20001, dtype=dtype)
    expected = torch.tensor([math.exp(value) for value in x.double().tolist()], dtype=torch.float64)
    error = (exp_(x.clone()).double() / expected - 1).abs()
    assert (error <= (x.double().abs() + 2) * torch.finfo(dtype).eps).all()


def test_zero_infinities_and_nan():
    found = exp_(torch.tensor([0.0, -torch.inf, torch.inf, torch.nan, -200.0]))
    assert found[:3].tolist() == [1.0, 0.0, math.inf]
    assert found[3].isnan()
    assert found[4] == 0


def test_it_writes_where_it_was_given():
    x = torch.zeros(3)
    assert exp_(x) is x
    assert x.tolist() == [1, 1, 1]


@pytest.mark.parametrize('top', [-39.7, -3.3, 0.0, 7.1, 39.7, 70.3])
def test_the_loss_of_a_confident_pixel_far_from_zero(top):
    """The rounding of the largest logit's exponent cancels; else it would be an error of 2e-6."""
    below = torch.linspace(-18, -2, 64)
    logits = torch.stack([torch.full_like(below, top), top + below])[None, :, None]
    labels = torch.zeros(1, 1, 64, dtype=torch.long)
    gap = logits[0, 1, 0].double() - logits[0, 0, 0].double()
    expected = gap.exp().log1p()
    error = (pixel_nll(logits, labels)[0, 0].double() - expected).abs()
    assert (error <= 5e-6 * expected + 2 * torch.finfo(torch.float32).eps).all()
