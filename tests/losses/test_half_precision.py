"""Under --amp every loss trains as in float32: bfloat16 here, float16 where there is a GPU.

The curve of 50 iterations is smoothed over 10, which takes out the noise of a single batch, and
the mean relative difference from float32's is the measure. Both start from equal weights and see
equal batches.
"""

import numpy as np
import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from mmseg_balance.runtime.cpu import BFloat16OptimWrapper
from tests.support.losses import CASES, CLASSES, WEIGHTS

ITERATIONS, WINDOW, TOLERANCE = 50, 10, 0.02
KINKED = {'RegionSizeLoss': 0.05}  # where a size is right its slope jumps
WEIGHTED = [
    case
    for case in CASES
    if case.name
    in ('WeightedCrossEntropyLoss()', 'SoftmaxFocalLoss()', 'SoftDiceLoss()', 'SoftIoULoss()')
]


class Net(nn.Module):
    """Two convolutions with a batch norm between them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, CLASSES, 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def batches(device: str):
    """Images whose first channel tells the class, with noise; one pixel in ten is ignored."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(ITERATIONS):
        shares = torch.tensor([0.5, 0.3, 0.15, 0.04, 0.01])
        labels = torch.multinomial(shares, 2 * 16 * 16, True, generator=generator).view(2, 16, 16)
        images = torch.randn(2, 3, 16, 16, generator=generator)
        images[:, 0] += labels
        labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
        yield images.to(device), labels.to(device)


def curve(case, wrapper: type[OptimWrapper], device: str, **options) -> np.ndarray:
    """Smoothed losses of a training whose forward pass and loss run in the wrapper's precision."""
    torch.manual_seed(0)
    net, loss_module = Net().to(device), case.build(**options).to(device)
    optimizer = wrapper(optimizer=torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9))
    losses = []
    for images, labels in batches(device):
        with optimizer.optim_context(net):
            logits = net(images)
            loss = loss_module(logits, labels, ignore_index=255)
        assert loss.dtype == torch.float32
        assert wrapper is OptimWrapper or logits.dtype in (torch.bfloat16, torch.float16)
        optimizer.update_params(loss)
        losses.append(float(loss))
    assert all(torch.isfinite(weight).all() for weight in net.parameters())
    return np.convolve(losses, np.ones(WINDOW) / WINDOW, 'valid')


def compare(case, wrapper: type[OptimWrapper], device: str, **options) -> None:
    expected = curve(case, OptimWrapper, device, **options)
    found = curve(case, wrapper, device, **options)
    assert np.isfinite(found).all()
    difference = np.mean(np.abs(found - expected) / np.abs(expected))
    assert difference < KINKED.get(case.config['type'], TOLERANCE)
    assert not np.array_equal(found, expected)  # otherwise nothing ran in half precision
    assert expected[-1] < expected[0]  # otherwise two straight lines were compared


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_bfloat16_follows_float32(case):
    compare(case, BFloat16OptimWrapper, 'cpu')


@pytest.mark.parametrize('case', WEIGHTED, ids=lambda case: case.name)
def test_bfloat16_follows_float32_with_class_weights(case):
    compare(case, BFloat16OptimWrapper, 'cpu', class_weight=WEIGHTS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='float16 autocast needs a GPU')
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_float16_follows_float32(case):
    compare(case, AmpOptimWrapper, 'cuda')
