"""The check of sums in float16 says what the gradients do."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_balance.doctor.checks.losses import float16_sum
from mmseg_balance.doctor.reading import Reading
from tests.doctor.samples import CE, CLASSES, SUM, float16

SCALE = 512.0
IMAGES, HEIGHT, WIDTH, STRIDE = 2, 128, 128, 8
LOSSES = {
    'cross-entropy': CE,
    'cross-entropy-sum': SUM,
    'dice-sum': dict(type='DiceLoss', reduction='sum'),
    'tversky': dict(type='TverskyLoss'),
    'lovasz-sum': dict(type='LovaszLoss', per_image=True, reduction='sum'),
    'ours-pixels': dict(type='SoftmaxFocalLoss'),
    'ours-regions': dict(type='SoftDiceLoss'),
    'ours-hardest': dict(type='LMPLoss'),
}


def classifier_gradient(loss: dict) -> torch.Tensor:
    """Gradient of a head's last layer in one step of float16 with the fixed loss scale.

    As on a GPU, where automatic mixed precision enlarges logits and adds up in float32; the labels
    are one class, which an untrained head gets wrong everywhere.
    """
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(16, CLASSES, 1)
    features = torch.rand(IMAGES, 16, HEIGHT // STRIDE, WIDTH // STRIDE)
    with torch.autocast('cpu', torch.float16):
        logits = layer(features)
    assert logits.dtype == torch.float16
    full = F.interpolate(logits.float(), (HEIGHT, WIDTH), mode='bilinear')
    labels = torch.ones(IMAGES, HEIGHT, WIDTH, dtype=torch.long)
    value = MODELS.build(dict(loss))(full, labels, ignore_index=255)
    (SCALE * value).backward()
    return layer.weight.grad


@pytest.mark.parametrize('loss', LOSSES.values(), ids=LOSSES)
def test_the_check_agrees_with_the_gradient(loss, root, config):
    float16(loss, loss_scale=SCALE)(root, config)
    config.train_dataloader.batch_size = IMAGES
    config.model.data_preprocessor.size = (HEIGHT, WIDTH)
    found = list(float16_sum(Reading(config, labels=False)))
    overflows = not classifier_gradient(loss).isfinite().all()
    assert [one.severity for one in found] == ['error'] * overflows
