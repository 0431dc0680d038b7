"""Losses of kornia, MONAI and segmentation_models.pytorch, for the comparison with ours."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn, where

PEERS = ('kornia', 'monai', 'segmentation-models-pytorch')  # as they are installed


class Called(nn.Module):
    """A peer's loss, called as ours are.

    Args:
        loss: takes ``(logits, labels)``.
        ignores: whether it knows ``ignore_index`` itself; else ignored pixels count as class 0,
            which is less work than leaving them out.
        channel: whether labels are ``(N, 1, H, W)``.
    """

    def __init__(self, loss: nn.Module, ignores: bool = False, channel: bool = False) -> None:
        super().__init__()
        self.loss, self.ignores, self.channel = loss, ignores, channel

    def forward(self, logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
        if not self.ignores:
            labels = where(labels == ignore_index, 0, labels)
        return self.loss(logits, labels.unsqueeze(1) if self.channel else labels)


def peer_losses() -> dict[str, nn.Module]:
    """Those of the packages that can be imported; of the others it is said why not."""
    built: dict[str, nn.Module] = {}
    for name, losses_of in (('kornia', _kornia), ('MONAI', _monai), ('SMP', _smp)):
        try:
            losses = losses_of()
        except ImportError as error:
            print(f'{name} is left out: {error}')
            continue
        built.update({f'{name} {loss}': module for loss, module in losses.items()})
    return built


def _kornia() -> dict[str, nn.Module]:
    from kornia.losses import DiceLoss, FocalLoss, TverskyLoss

    return {
        'DiceLoss': Called(DiceLoss(average='macro', ignore_index=255), True),
        'DiceLoss (pooled over classes)': Called(DiceLoss()),
        'TverskyLoss': Called(TverskyLoss(0.5, 0.5, ignore_index=255), True),
        'FocalLoss': Called(FocalLoss(alpha=None, reduction='mean', ignore_index=255), True),
    }


def _monai() -> dict[str, nn.Module]:
    from monai.losses import DiceCELoss, DiceLoss, FocalLoss, GeneralizedDiceLoss

    options = dict(softmax=True, to_onehot_y=True)
    return {
        'DiceLoss': Called(DiceLoss(**options), channel=True),
        'DiceCELoss': Called(DiceCELoss(**options), channel=True),
        'GeneralizedDiceLoss': Called(GeneralizedDiceLoss(**options), channel=True),
        'FocalLoss': Called(FocalLoss(use_softmax=True, to_onehot_y=True), channel=True),
    }


def _smp() -> dict[str, nn.Module]:
    losses = folder_of_package('segmentation_models_pytorch', 'losses')
    ignoring = ('DiceLoss', 'TverskyLoss', 'LovaszLoss', 'FocalLoss')
    built = {
        name: Called(getattr(losses, name)('multiclass', ignore_index=255), True)
        for name in ignoring
    }
    return {**built, 'JaccardLoss': Called(losses.JaccardLoss('multiclass'))}


def folder_of_package(package: str, folder: str) -> ModuleType:
    """A folder of modules of an installed package, without what the package itself imports.

    The losses of segmentation_models.pytorch need PyTorch alone, and its ``__init__`` torchvision
    and timm: ``pip install --no-deps segmentation-models-pytorch`` is enough here.

    Raises:
        ImportError: the package is not installed, or has no such folder.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f'No module named {package!r}', name=package)
    name, path = f'{package}_{folder}', Path(found.submodule_search_locations[0], folder)
    spec = importlib.util.spec_from_file_location(
        name, path / '__init__.py', submodule_search_locations=[str(path)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its modules import each other
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError as error:
        del sys.modules[name]
        raise ImportError(f'{package} has no folder {folder!r}', name=package) from error
    return module
