"""Every loss is one graph for ``torch.compile``: no break, the same value and gradient."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from mmseg_balance.functional import backend
from tests.support.losses import CASES, Case, batch
from tests.support.references_new_losses import NOISE_SEED

PAIR = Case(
    'PairedLoss',
    dict(
        type='PairedLoss', losses=[dict(type='SoftDiceLoss'), dict(type='WeightedCrossEntropyLoss')]
    ),
    None,
)
FIRST_OF_TYPE = list({case.config['type']: case for case in reversed([*CASES, PAIR])}.values())
# Dynamo finds breaks in the graph; aot_eager also traces the backward pass, at twice the time.
TRACED = [case for case in FIRST_OF_TYPE if case.config['type'] in ('LMPLoss', 'PairedLoss')]
OLD_COMPILER = pytest.mark.skipif(
    not hasattr(torch.compiler, 'is_compiling'),
    reason='before PyTorch 2.3 a graph ends at an autograd function of several outputs',
)


def value_and_gradient(loss, logits, labels):
    logits = logits.detach().clone().requires_grad_()
    torch.manual_seed(NOISE_SEED)
    value = loss(logits, labels, ignore_index=255)
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize('case', TRACED, ids=lambda case: case.name)
def test_same_value_and_gradient(case):
    torch._dynamo.reset()
    logits, labels = batch(dtype=torch.float32)
    loss = case.build()
    compiled = torch.compile(loss, backend='eager')
    torch.testing.assert_close(
        value_and_gradient(compiled, logits, labels), value_and_gradient(loss, logits, labels)
    )


def assert_one_graph(case, compiler):
    torch._dynamo.reset()
    logits, labels = batch(dtype=torch.float32)
    loss = case.build()
    expected = value_and_gradient(loss, logits, labels)
    counter = CompileCounterWithBackend(compiler)
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    torch.testing.assert_close(value_and_gradient(compiled, logits, labels), expected)
    assert counter.frame_count == 1


@OLD_COMPILER
@pytest.mark.parametrize('case', FIRST_OF_TYPE, ids=lambda case: case.name)
def test_full_graph(case):
    assert_one_graph(case, 'eager')


@OLD_COMPILER
@pytest.mark.parametrize('case', TRACED, ids=lambda case: case.name)
def test_full_graph_of_both_passes(case):
    assert_one_graph(case, 'aot_eager')


@OLD_COMPILER
@pytest.mark.parametrize('case', TRACED, ids=lambda case: case.name)
def test_full_graph_with_kernels(case, monkeypatch):
    if not backend.TRITON_USABLE:
        pytest.skip('Triton 3 or later is not installed')
    monkeypatch.setattr(backend, 'BACKEND', 'triton')
    assert_one_graph(case, 'aot_eager')


@pytest.mark.parametrize('case', TRACED, ids=lambda case: case.name)
def test_a_label_out_of_range_does_not_pass_unseen(case):
    torch._dynamo.reset()
    logits, labels = batch(dtype=torch.float32)
    labels[0, 0, 0] = logits.shape[1]
    assert torch.compile(case.build(), backend='eager')(logits, labels).isnan()


@pytest.mark.parametrize('case', TRACED, ids=lambda case: case.name)
def test_logits_of_ignored_pixels_may_be_anything(case):
    torch._dynamo.reset()
    logits, labels = batch(dtype=torch.float32)
    compiled = torch.compile(case.build(), backend='eager')
    expected = value_and_gradient(compiled, logits, labels)
    changed = torch.where((labels == 255).unsqueeze(1), torch.nan, logits)
    found = value_and_gradient(compiled, changed, labels)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
