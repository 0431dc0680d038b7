"""The GPU's search for the threshold: on a GPU compiled, elsewhere in Triton's interpreter.

The same oracle as for the eager code; float32 takes four digits where p - 1 is 1/1000, as a
weight is the 2000th power of a loss there.
"""

import math

import numpy as np
import pytest
import torch

from mmseg_balance.functional import backend

if not backend.TRITON_USABLE:
    pytest.skip('Triton 3 or later is not installed', allow_module_level=True)

from mmseg_balance.functional import max_pooling
from mmseg_balance.functional.primitives.triton.max_pooling import max_pool_weights
from tests.functional.test_max_pooling import KINDS, draw
from tests.support import references_pooling as references

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# p, ratio, tolerance
CASES = [
    (1, 0.25, 1e-5),
    (1, 1e-3, 1e-5),
    (1.0005, 0.1, 1e-3),
    (1.05, 1e-3, 1e-5),
    (1.3, 0.25, 1e-5),
    (1.3, 0.7, 1e-5),
    (3, 0.1, 1e-5),
    (1e6, 0.5, 1e-5),
]

# The interpreter takes logarithms of 0.
pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')


def weights_of(losses, inside, p, ratio):
    return max_pool_weights(
        torch.as_tensor(losses, dtype=torch.float32, device=DEVICE),
        torch.as_tensor(inside, device=DEVICE),
        p,
        ratio,
    ).cpu()


@pytest.mark.parametrize(('p', 'ratio', 'tolerance'), CASES)
@pytest.mark.parametrize('kind', KINDS)
def test_weights_equal_algorithm_1(kind, p, ratio, tolerance):
    rng = np.random.default_rng(0)
    losses = draw(kind, (2, 700), rng).astype(np.float32)
    inside = rng.random((2, 700)) < 0.8
    expected = references.max_pool_weights(losses, inside, p, ratio, 'image')
    weights = weights_of(losses, inside, p, ratio).numpy()
    value = (expected * losses).sum()
    assert (weights * losses).sum() == pytest.approx(value, rel=tolerance)
    assert (weights[~inside] == 0).all()
    if p > 1 or kind not in ('ties', 'sparse'):  # else there are several maximisers
        error = np.abs(weights - expected)[losses > 0].max()
        assert error <= tolerance * expected.max()


def test_a_fractional_count_and_ties_share_what_is_left():
    # m = 2.5 of 5: the 9, and three quarters of each of the two 4.
    weights = weights_of([[4.0, 9.0, 1.0, 4.0, 0.0]], [[True] * 5], 1, 0.5)
    torch.testing.assert_close(weights, torch.tensor([[0.75, 1.0, 0.0, 0.75, 0.0]]) / 2.5)


@pytest.mark.parametrize('p', [1, 1.05, 1.3, 10])
def test_degenerate_losses(p):
    everywhere = torch.ones(2, 40, dtype=torch.bool)
    equal = weights_of(torch.full((2, 40), 0.7), everywhere, p, 0.33)
    torch.testing.assert_close(equal, torch.full((2, 40), 1 / 80), rtol=1e-5, atol=0)
    assert weights_of(torch.zeros(2, 40), everywhere, p, 0.33).isfinite().all()
    assert not weights_of(torch.rand(2, 40), ~everywhere, p, 0.33).any()
    one = torch.zeros(2, 40, dtype=torch.bool)
    one[1, 7] = True
    assert weights_of(torch.rand(2, 40) + 0.1, one, p, 0.33)[1, 7] == pytest.approx(1, rel=1e-5)
    odd = torch.rand(2, 40)
    odd[0, 0], odd[1, 1], odd[1, 2] = math.inf, -1e-7, 1e-42
    assert weights_of(odd, everywhere, p, 0.33).isfinite().all()


@pytest.mark.parametrize('junk', [math.nan, math.inf, -1.0])
def test_ignored_losses_are_never_read(junk):
    losses, inside = torch.rand(2, 50), torch.rand(2, 50) < 0.5
    for p in (1, 1.3):
        torch.testing.assert_close(
            weights_of(torch.where(inside, losses, junk), inside, p, 0.2),
            weights_of(losses, inside, p, 0.2),
            rtol=0,
            atol=0,
        )


@pytest.mark.parametrize('scale', [1e-30, 1e6, 1e20])
def test_weights_do_not_depend_on_the_scale(scale):
    losses, inside = torch.rand(1, 300), torch.ones(1, 300, dtype=torch.bool)
    torch.testing.assert_close(
        weights_of(losses * scale, inside, 1.3, 0.2),
        weights_of(losses, inside, 1.3, 0.2),
        rtol=1e-5,
        atol=1e-9,
    )


@pytest.mark.parametrize('pool', ['image', 'batch'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_taken_by_the_loss_function(monkeypatch, pool, dtype):
    losses = torch.rand(2, 9, 11, device=DEVICE).to(dtype)
    valid = torch.rand(2, 9, 11, device=DEVICE) < 0.9
    monkeypatch.setattr(backend, 'BACKEND', 'eager')
    expected = [
        max_pooling.max_pool_weights(losses, valid, p, 0.3, pool) for p in (1, 1.3, math.inf)
    ]
    monkeypatch.setattr(backend, 'BACKEND', 'triton')
    for p, weights in zip((1, 1.3, math.inf), expected, strict=True):
        torch.testing.assert_close(
            max_pooling.max_pool_weights(losses, valid, p, 0.3, pool), weights
        )
