"""No loss synchronises host and device, so that in training the host can run ahead."""

import pytest
import torch

from mmseg_balance.benchmarking.batches import training_batch
from mmseg_balance.benchmarking.losses import our_losses

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
SHAPE = (2, 5, 64, 64)
NAMES = sorted(our_losses(training_batch(SHAPE)[1], SHAPE[1]))


@pytest.mark.parametrize('name', NAMES)
def test_neither_pass_synchronises_host_and_device(name):
    """Class weights once did: `table[ignored] = 0` copies the 0 from the host, a millisecond."""
    logits, labels = training_batch(SHAPE, 'cuda')
    loss = our_losses(labels, SHAPE[1])[name][0].cuda()
    loss(logits, labels, ignore_index=255).backward()  # compiles, and moves tables to the GPU
    logits.grad = None
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        loss(logits, labels, ignore_index=255).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert logits.grad.isfinite().all()
