"""Gradients of losses of class priors, which the contract suite checks for logits alone."""

import torch
import torch.nn.functional as F

from mmseg_balance.functional import ldam_loss


def test_ldam_has_the_gradient_of_its_margins_and_logits():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    margins = torch.rand(4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 3, 5))
    labels[0, 0] = 255
    known = labels.where(labels != 255, 0)
    shifted = 3.0 * (logits - margins[known].unsqueeze(1) * F.one_hot(known, 4).movedim(-1, 1))
    expected = F.cross_entropy(shifted, labels, ignore_index=255, reduction='none')
    found = ldam_loss(logits, labels, margins, scale=3.0)
    torch.testing.assert_close(found, expected)
    weight = torch.rand_like(expected)  # another slope for each pixel
    gradients = (
        torch.autograd.grad((losses * weight).sum(), (logits, margins))
        for losses in (found, expected)
    )
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
