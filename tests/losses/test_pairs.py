"""Each loss, alone and in every pair, on logits of every kind: finite, and untouched where ignored."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

from itertools import combinations_with_replacement

import pytest
import torch

from mmseg_balance.functional import backend
from tests.support.losses import CASES, batch

FIRST_OF_TYPE = list({case.config['type']: case for case in reversed(CASES)}.values())
PAIRS = list(combinations_with_replacement(FIRST_OF_TYPE, 2))
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def ordinary(logits, labels):
    return logits


def sure(logits, labels):
    """Probabilities of exactly 1 and 0, right and wrong."""
    return logits.sign() * 60


def infinite(logits, labels):
    """A class that is ruled out, where it is not the label."""
    out = logits.clone()
    out[:, 0] = torch.where(labels == 0, out[:, 0], -torch.inf)
    return out


def nan_where_ignored(logits, labels):
    return torch.where((labels == 255).unsqueeze(1), torch.nan, logits)


KINDS = (ordinary, sure, infinite, nan_where_ignored)


def check(pair, kind, dtype):
    """One step of a head with both losses."""
    logits, labels = batch()
    leaf = kind(logits.detach().float(), labels).to(dtype).requires_grad_()
    scores = leaf * 1  # not a leaf, as a head's logits are none
    total = sum(case.build()(scores, labels, ignore_index=255) for case in pair)
    names = f'{pair[0].name}, {pair[1].name}, {kind.__name__}, {dtype}'
    assert total.dtype == torch.float32, names
    assert total.isfinite(), names
    (gradient,) = torch.autograd.grad(total, leaf)
    assert gradient.isfinite().all(), names
    assert (gradient.movedim(1, -1)[labels == 255] == 0).all(), names


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_every_pair(kind, dtype):
    for pair in PAIRS:
        check(pair, kind, dtype)


@pytest.mark.skipif(not backend.TRITON_USABLE, reason='Triton 3 or later is not installed')
@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_every_loss_on_the_kernels(kind, dtype, monkeypatch):
    monkeypatch.setattr(backend, 'BACKEND', 'triton')
    for case in FIRST_OF_TYPE:
        check((case, case), kind, dtype)


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.__name__)
def test_every_loss_compiled(kind):
    logits, labels = batch()
    for case in FIRST_OF_TYPE:
        torch._dynamo.reset()
        loss = case.build()
        scores = kind(logits.detach().float(), labels).requires_grad_()
        value = torch.compile(loss, backend='eager')(scores, labels, ignore_index=255)
        (gradient,) = torch.autograd.grad(value, scores)
        assert value.isfinite(), (case.name, kind.__name__)
        assert gradient.isfinite().all(), (case.name, kind.__name__)
