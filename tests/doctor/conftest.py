"""The labels of these tests are counted into a folder of their own."""

import gc

import pytest

import mmseg_balance  # noqa: F401  registers what the configs name
from tests.doctor.samples import healthy_config, write_data


@pytest.fixture(autouse=True, scope='session')
def _quick_collections():
    """Every data set that is built collects garbage: leave out what was imported before."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_statistics(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))


@pytest.fixture
def root(tmp_path):
    write_data(tmp_path / 'data')
    return tmp_path / 'data'


@pytest.fixture
def config(root):
    return healthy_config(root, root.parent / 'run')
