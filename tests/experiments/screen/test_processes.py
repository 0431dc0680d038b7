"""Heads that several processes train together."""

from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmseg_balance.experiments.screen.bank import HeadBank
from tests.support.ranks import run_ranks


class Segmentor(nn.Module):
    """The parts of a frozen segmentor that a bank uses."""

    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor = nn.Identity()
        self.data_preprocessor.forward = lambda data, training: data

    def extract_feat(self, inputs):
        return inputs

    def _decode_head_forward_train(self, features, samples) -> dict:
        return {'loss': self.decode_head(features).mean()}


def head_after_a_step(rank: int) -> dict:
    torch.manual_seed(0)
    head = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1), nn.Sigmoid())
    bank = HeadBank(Segmentor(), {'h0': head})
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    bank.train()
    inputs = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(rank)) * (rank + 1)
    batch = {'inputs': inputs, 'data_samples': [SimpleNamespace()] * 2}
    bank.train_step(batch, OptimWrapperDict(h0=OptimWrapper(optimizer)))
    own_mean = head[0].running_mean.clone()
    bank.share_buffers()
    return {'own_mean': own_mean, 'state': head.state_dict(), 'inputs': inputs}


def test_gradients_are_averaged_and_every_process_scores_what_is_saved():
    first, second = run_ranks(head_after_a_step, 2)
    assert not torch.equal(first['own_mean'], second['own_mean'])
    for name, value in first['state'].items():
        assert torch.equal(value, second['state'][name]), name
    torch.manual_seed(0)
    head = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1), nn.Sigmoid())
    loss = sum(head(rank['inputs']).mean() for rank in (first, second)) / 2
    expected = {
        name: parameter - gradient
        for (name, parameter), gradient in zip(
            head.named_parameters(), torch.autograd.grad(loss, list(head.parameters())), strict=True
        )
    }
    for name, value in expected.items():
        torch.testing.assert_close(first['state'][name], value, rtol=1e-5, atol=1e-7)
