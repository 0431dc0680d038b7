"""Choosing who computes the primitives."""

import pytest
import torch

from mmseg_balance.functional import backend


@pytest.mark.parametrize('value', ['auto', 'eager'])
def test_known_values(value):
    assert backend.backend_from_environment(value) == value


@pytest.mark.parametrize('value', [None, ''])
def test_unset_is_auto(value):
    assert backend.backend_from_environment(value) == 'auto'


def test_unknown_value_is_named():
    with pytest.raises(
        ValueError, match="MMSEG_BALANCE_BACKEND='cuda' is unknown: set it to auto, eager or triton"
    ):
        backend.backend_from_environment('cuda')


def test_triton_that_is_missing(monkeypatch):
    monkeypatch.setattr(backend, 'TRITON_USABLE', False)
    with pytest.raises(ValueError, match='Triton 3 or later is not installed'):
        backend.backend_from_environment('triton')
    monkeypatch.setattr(backend, 'BACKEND', 'auto')
    assert not backend.uses_triton(torch.zeros(1, 2, 1, 1))


@pytest.mark.parametrize(('version', 'usable'), [('2.3.1', False), ('3.0.0', True), ('10.1', True)])
def test_the_kernels_need_triton_3(monkeypatch, version, usable):
    monkeypatch.setattr(backend.importlib.util, 'find_spec', lambda name: object())
    monkeypatch.setattr(backend.metadata, 'version', lambda name: version)
    assert backend.triton_is_usable() == usable


def test_logits_on_the_cpu_take_the_eager_way():
    assert not backend.uses_triton(torch.zeros(1, 2, 1, 1))


def test_eager_turns_the_kernels_off(monkeypatch):
    monkeypatch.setattr(backend, 'TRITON_USABLE', True)
    monkeypatch.setattr(backend, 'BACKEND', 'triton')
    assert backend.uses_triton(torch.zeros(1, 2, 1, 1))
    monkeypatch.setattr(backend, 'BACKEND', 'eager')
    assert not backend.uses_triton(torch.zeros(1, 2, 1, 1))
