"""What every test shares: one thread, data sets that may be missing, a tiny CamVid of noise."""

import os
from importlib.util import find_spec
from pathlib import Path

# Before torch is imported: two workers with a thread pool each would fight over the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch

if not torch.cuda.is_available():
    # Before anything imports Triton (torch._dynamo does): the kernels are then interpreted, and
    # tested without a GPU.
    os.environ.setdefault('TRITON_INTERPRET', '1')

import cv2
import numpy as np
import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

REPOSITORY = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, by name, what needs data or a package that is missing.

    ``@pytest.mark.requires_data('camvid')`` needs ``data/camvid``, and
    ``@pytest.mark.requires_package('scipy')`` needs ``import scipy`` to find something.
    """
    for name in _named_by(item, 'requires_data'):
        if not (REPOSITORY / 'data' / name).exists():
            _skip_or_fail(f'data/{name} is missing; README says how to get it')
    for name in _named_by(item, 'requires_package'):
        if find_spec(name) is None:
            _skip_or_fail(f'{name} is not installed; pip install "mmseg_balance[test]"')


def _named_by(item: pytest.Item, marker: str) -> list[str]:
    return [name for mark in item.iter_markers(marker) for name in mark.args]


def _skip_or_fail(reason: str) -> None:
    if os.environ.get('MMSEG_BALANCE_REQUIRE_DATA') == '1':
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same random state, so its outcome depends on nothing before it."""
    np.random.seed(0)  # noqa: NPY002  the legacy state is what OpenMMLab's transforms draw from
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _fresh_mmengine():
    """MMEngine keeps the last run's logger, scope and message hub: the next test has its own."""
    yield
    for kept in (DefaultScope, MessageHub, MMLogger, Visualizer):
        kept._instance_dict.clear()


@pytest.fixture(scope='session')
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope='session')
def tiny_camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory laid out like CamVid: 4 training and 2 validation images of noise, 64x48."""
    root = tmp_path_factory.mktemp('data') / 'camvid'
    rng = np.random.default_rng(0)
    for split, count in (('train', 4), ('val', 2)):
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            labels = np.kron(rng.integers(0, 12, (6, 8)), np.ones((8, 8))).astype(np.uint8)
            cv2.imwrite(str(root / 'images' / split / f'{index}.jpg'), image)
            cv2.imwrite(str(root / 'labels' / split / f'{index}.png'), labels)
    return root
