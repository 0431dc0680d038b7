import math

import numpy as np
import pytest
import torch

from mmseg_balance.functional.max_pooling import max_pool_weights
from mmseg_balance.functional.selection import kth_largest
from tests.support import references_pooling as references

POWERS = (1.0, 1.0005, 1.01, 1.05, 1.3, 2.0, 10.0, 1e6, math.inf)
RATIOS = (1e-3, 0.1, 0.25, 0.7, 1.0)
POOLS = ('image', 'batch')


def draw(kind, shape, rng):
    """Losses as they occur: early and late in training, ties, few positive ones, wide range."""
    if kind == 'early':
        return rng.exponential(1, shape)
    if kind == 'late':
        hard = rng.random(shape) < 0.05
        return np.where(hard, rng.exponential(2, shape), np.exp(rng.normal(-9, 2, shape)))
    if kind == 'ties':
        return np.round(rng.exponential(1, shape), 1)
    if kind == 'sparse':
        return np.where(rng.random(shape) < 0.15, rng.exponential(1, shape), 0.0)
    return np.exp(rng.uniform(-18, 3, shape))


KINDS = ('early', 'late', 'ties', 'sparse', 'wide')


def pooled(losses, valid, *args):
    weights = max_pool_weights(losses, valid, *args)
    return (weights * torch.where(valid, losses, 0)).sum()


def everywhere(losses):
    return torch.ones(losses.shape, dtype=torch.bool)


@pytest.mark.parametrize('pool', POOLS)
@pytest.mark.parametrize('kind', KINDS)
def test_weights_equal_algorithm_1(kind, pool):
    rng = np.random.default_rng(0)
    losses, valid = draw(kind, (3, 13, 17), rng), rng.random((3, 13, 17)) < 0.8
    for p in POWERS:
        for ratio in RATIOS:
            expected = references.max_pool_weights(losses, valid, p, ratio, pool)
            value = (expected * losses).sum()
            for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
                given = torch.tensor(losses, dtype=dtype)
                weights = max_pool_weights(given, torch.tensor(valid), p, ratio, pool)
                assert weights.dtype == dtype
                assert (weights * given).sum().item() == pytest.approx(value, rel=tolerance)
                if p == 1 and kind in ('ties', 'sparse'):
                    continue  # several maximisers
                # float32 losses are exact to 6e-8, and the weight is their (q - 1)-th power
                if p < 1.01 and dtype == torch.float32:
                    tolerance = 1e-3
                # a pixel without loss may weigh anything
                error = np.abs(weights.numpy() - expected)[losses > 0].max()
                assert error <= tolerance * expected.max(), (p, ratio, dtype)


@pytest.mark.parametrize('p', [1.02, 1.3, 1.7, 4.0])
@pytest.mark.parametrize('kind', KINDS)
def test_value_equals_the_dual_optimum(kind, p):
    losses = draw(kind, 400, np.random.default_rng(1))
    for ratio in (0.013, 0.25, 0.777):
        value = pooled(torch.tensor(losses).view(1, 20, 20), torch.ones(1, 20, 20) > 0, p, ratio)
        assert value.item() == pytest.approx(
            references.dual_value(losses, p, max(1, ratio * 400)), rel=1e-9
        )


@pytest.mark.parametrize('pool', POOLS)
@pytest.mark.parametrize('p', POWERS)
def test_weights_are_feasible(p, pool):
    losses = torch.tensor(draw('ties', (2, 30, 30), np.random.default_rng(2)))
    valid = torch.rand(losses.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    for ratio in RATIOS:
        weights = max_pool_weights(losses, valid, p, ratio, pool)
        assert (weights >= 0).all()
        assert (weights[~valid] == 0).all()
        rows = weights * 2 if pool == 'image' else weights[None]
        for row, inside in zip(rows, valid if pool == 'image' else valid[None], strict=True):
            n = inside.sum().item()
            m = max(1, ratio * n)
            q_inverse = 1 - 1 / p
            assert row.max() <= n**-q_inverse * m ** (-1 / p) * (1 + 1e-9)
            norm = (
                row.max()
                if p == math.inf
                else row.max() * ((row / row.max()) ** p).sum() ** (1 / p)
            )
            assert norm <= n**-q_inverse * (1 + 1e-9)


@pytest.mark.parametrize('kind', KINDS)
def test_between_the_mean_and_the_maximum(kind):
    losses = torch.tensor(draw(kind, (1, 20, 30), np.random.default_rng(3)))
    valid = everywhere(losses)
    mean = losses.mean()
    for ratio in RATIOS:
        values = [pooled(losses, valid, p, ratio) for p in POWERS]
        assert all(value >= mean * (1 - 1e-12) for value in values)
        assert all(value <= losses.max() * (1 + 1e-12) for value in values)
        torch.testing.assert_close(values[-1], mean)
        torch.testing.assert_close(values[-2], mean, rtol=2e-4, atol=0)  # p = 1e6
    for p in POWERS:
        torch.testing.assert_close(pooled(losses, valid, p, 1.0), mean)


def test_p_1_is_the_mean_of_the_hardest():
    losses = torch.rand(1, 10, 10, generator=torch.Generator().manual_seed(0))
    hardest = losses.flatten().sort(descending=True).values
    value = pooled(losses, everywhere(losses), 1, 0.25)
    torch.testing.assert_close(value, hardest[:25].mean())
    value = pooled(losses, everywhere(losses), 1, 0.255)  # m = 25.5: half of the 26th
    torch.testing.assert_close(value, (hardest[:25].sum() + hardest[25] / 2) / 25.5)


@pytest.mark.parametrize('p', POWERS)
def test_gradient_of_the_optimum_is_the_weights(p):
    losses = torch.tensor(draw('early', (2, 5, 6), np.random.default_rng(4)))
    valid = everywhere(losses)
    step = 1e-6
    weights = max_pool_weights(losses, valid, p, 0.3)
    for index in np.ndindex(2, 5, 2):
        moved = torch.zeros_like(losses)
        moved[index] = step
        rise = pooled(losses + moved, valid, p, 0.3) - pooled(losses - moved, valid, p, 0.3)
        assert rise / (2 * step) == pytest.approx(weights[index].item(), abs=2e-4)


@pytest.mark.parametrize('pool', POOLS)
@pytest.mark.parametrize('p', POWERS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_degenerate_losses_are_finite_and_right(dtype, p, pool):
    shape = (2, 4, 5)
    valid = torch.ones(shape, dtype=torch.bool)
    for ratio in (0.01, 0.33, 1.0):
        equal = max_pool_weights(torch.full(shape, 0.7, dtype=dtype), valid, p, ratio, pool)
        assert equal.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(equal, torch.full_like(equal, 1 / 40), rtol=1e-5, atol=0)
        zero = max_pool_weights(torch.zeros(shape, dtype=dtype), valid, p, ratio, pool)
        assert torch.isfinite(zero).all()

        losses = torch.rand(shape).to(dtype)
        lonely = torch.zeros(shape, dtype=torch.bool)
        assert (max_pool_weights(losses, lonely, p, ratio, pool) == 0).all()
        lonely[1, 2, 3] = True
        one = max_pool_weights(losses, lonely, p, ratio, pool)
        assert one[1, 2, 3] == pytest.approx(1)
        assert one.sum() == one[1, 2, 3]

        losses[0, 0, 0], losses[1, 1, 1] = math.inf, -1e-7
        assert torch.isfinite(max_pool_weights(losses, valid, p, ratio, pool)).all()


@pytest.mark.parametrize('scale', [1e-30, 1e-6, 1e6, 1e20])
def test_weights_do_not_depend_on_the_scale(scale):
    losses = torch.tensor(draw('early', (1, 20, 20), np.random.default_rng(5))).float()
    for p in (1, 1.05, 1.3, 3):
        torch.testing.assert_close(
            max_pool_weights(losses * scale, everywhere(losses), p, 0.2),
            max_pool_weights(losses, everywhere(losses), p, 0.2),
            rtol=1e-3,
            atol=1e-7,
        )


def test_ignored_losses_are_never_read():
    losses = torch.rand(2, 6, 7)
    valid = torch.rand(2, 6, 7) < 0.5
    for p in (1, 1.3, math.inf):
        expected = max_pool_weights(losses, valid, p, 0.2)
        for junk in (math.nan, math.inf, 1e4):
            poisoned = torch.where(valid, losses, junk)
            assert torch.equal(max_pool_weights(poisoned, valid, p, 0.2), expected)


@pytest.mark.parametrize('p', [1, 1.3, math.inf])
def test_a_loss_of_minus_zero_is_zero(p):
    """The logarithm of a probability of 1: the histogram read its sign bit as an index."""
    losses = torch.tensor([[[1.0, -0.0, 0.5, -0.0]]])
    expected = max_pool_weights(losses.abs(), everywhere(losses), p, 0.25)
    assert torch.equal(max_pool_weights(losses, everywhere(losses), p, 0.25), expected)


@pytest.mark.parametrize('p', [1, 1.3])
def test_a_loss_that_is_not_a_number_stays_visible(p):
    losses = torch.tensor([[[1.0, math.nan, 0.5, 0.2]]])
    weights = max_pool_weights(losses, everywhere(losses), p, 0.25)
    assert weights.isfinite().all()
    assert (weights * losses).sum().isnan()


@pytest.mark.parametrize('pool', POOLS)
def test_a_batch_without_images(pool):
    empty = torch.zeros(0, 4, 5)
    assert max_pool_weights(empty, empty > 0, 1.3, 0.25, pool).shape == (0, 4, 5)


def test_weights_carry_no_graph():
    losses = torch.rand(1, 4, 4, requires_grad=True)
    assert not max_pool_weights(losses, everywhere(losses)).requires_grad


@pytest.mark.parametrize('p', [1.001, 1.014, 1.02, 1.05, 1.3, 2.0])
@pytest.mark.parametrize('kind', KINDS)
def test_exact_at_the_size_of_an_image(kind, p):
    """The number of steps is fixed: many pixels must not need more."""
    losses = draw(kind, (1, 128, 256), np.random.default_rng(6))
    for ratio in (0.01, 0.25, 0.7):
        expected = references.max_pool_weights(losses, losses >= 0, p, ratio, 'image')
        weights = max_pool_weights(torch.tensor(losses), torch.tensor(losses >= 0), p, ratio)
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-9 * expected.max())


@pytest.mark.parametrize(
    ('argument', 'value'),
    [
        ('p', 0.9),
        ('p', -1),
        ('p', math.nan),
        ('ratio', 0),
        ('ratio', 1.1),
        ('ratio', math.nan),
        ('pool', 'pixel'),
    ],
)
def test_bad_arguments_are_named(argument, value):
    losses = torch.rand(1, 2, 2)
    with pytest.raises(ValueError, match=f'^{argument}='):
        max_pool_weights(losses, everywhere(losses), **{argument: value})


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_kth_largest_equals_a_sort(dtype):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 999, generator=generator).to(dtype)
    values[1] = values[1].round()
    values[2] = (values[2] * 8).exp()
    values[3] = 0
    values[4, ::3] = -math.inf
    values[4, 1::7] = math.inf
    ranked = values.sort(1, descending=True).values.to(kth_largest(values, torch.ones(5)).dtype)
    for k in ([1, 2, 3, 4, 5], [999] * 5, [500, 400, 300, 200, 666], [1.9, 7.2, 998.99, 3, 2]):
        k = torch.tensor(k)
        expected = ranked.gather(1, (k.long() - 1).unsqueeze(1)).squeeze(1)
        assert torch.equal(kth_largest(values, k), expected)
    assert torch.equal(kth_largest(values, torch.zeros(5)), ranked[:, 0])
    assert torch.equal(kth_largest(values, torch.full((5,), 10**6)), ranked[:, -1])


def test_kth_largest_of_extreme_floats():
    tiny, huge = torch.finfo(torch.float32).smallest_normal, torch.finfo(torch.float32).max
    row = [-math.inf, -huge, -1.0, -tiny, 0.0, tiny / 8, tiny, 1.0, huge, math.inf]
    values = torch.tensor([row])
    for k in range(1, 11):
        assert kth_largest(values, torch.tensor([k])) == values[0, -k]
        assert kth_largest(values.double(), torch.tensor([k])) == values[0, -k].double()
