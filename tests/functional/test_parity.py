"""Values and gradients that others' code computed: tests/parity/README.md says whose."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

PARITY = np.load(Path(__file__).parents[1] / 'parity' / 'losses.npz')
WEIGHT = PARITY['class_weight'].tolist()
CASES = {
    'cross_entropy': dict(type='WeightedCrossEntropyLoss'),
    'weighted_cross_entropy': dict(type='WeightedCrossEntropyLoss', class_weight=WEIGHT),
    'recall': dict(type='RecallLoss'),
    'soft_dice(average=micro,over=image,smooth=1,eps=1e-5)': dict(
        type='SoftDiceLoss', average='micro', over='image', smooth=1, eps=1e-5
    ),
    'soft_dice(average=micro,over=image,smooth=1,eps=1e-5,weighted)': dict(
        type='SoftDiceLoss', average='micro', over='image', smooth=1, eps=1e-5, class_weight=WEIGHT
    ),
    'soft_dice(average=macro,over=batch,power=2,present)': dict(type='SoftDiceLoss'),
    'soft_dice(average=macro,over=batch,power=1,present)': dict(type='SoftDiceLoss', power=1),
    'soft_iou(average=macro,over=batch,present)': dict(type='SoftIoULoss'),
    'soft_tversky(alpha=0.3,beta=0.7,over=batch,present)': dict(type='SoftTverskyLoss'),
    'peer:smp.DiceLoss': dict(type='SoftDiceLoss', power=1, classes='all'),
    'peer:smp.TverskyLoss(.3,.7)': dict(type='SoftTverskyLoss', classes='all'),
    'lovasz_softmax(over=image,present)': dict(type='LovaszSoftmaxLoss', over='image'),
    'generalized_dice(over=batch)': dict(type='GeneralizedDiceLoss'),
}
for name in PARITY.files:
    if lmp := re.fullmatch(r'lmp\(p=(.*),ratio=(.*),pool=(.*)\)', name):
        CASES[name] = dict(type='LMPLoss', p=float(lmp[1]), ratio=float(lmp[2]), pool=lmp[3])
    if focal := re.fullmatch(r'focal\(gamma=(.*)\)', name):
        CASES[name] = dict(type='SoftmaxFocalLoss', gamma=float(focal[1]))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('name', CASES)
def test_parity(name, dtype):
    logits = torch.tensor(PARITY['logits'], dtype=dtype, requires_grad=True)
    value = MODELS.build(CASES[name])(logits, torch.tensor(PARITY['labels']))
    value.backward()
    exact = dtype == torch.float64
    assert value.item() == pytest.approx(PARITY[name].item(), rel=1e-6 if exact else 1e-4)
    expected = PARITY[f'{name}.grad']
    error = np.abs(logits.grad.numpy() - expected).max() / np.abs(expected).max()
    assert error < (1e-5 if exact else 1e-4)


def test_every_loss_of_the_file_is_compared():
    losses = {name for name in PARITY.files if f'{name}.grad' in PARITY.files}
    assert losses == set(CASES)
