"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6."""

import math
from dataclasses import dataclass

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.utils import make_divisible
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmseg_balance.backbones.pretrained import SCHEME

# Width and depth relative to Lite0.
ARCHITECTURES = {
    'lite0': (1.0, 1.0),
    'lite1': (1.0, 1.1),
    'lite2': (1.1, 1.2),
    'lite3': (1.2, 1.4),
    'lite4': (1.4, 1.8),
}
STEM_CHANNELS = 32
# Of Lite0: blocks, kernel size, stride of the first block, expansion ratio, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# The stages (counted from 1) whose outputs are the last of strides 4, 8, 16 and 32.
FEATURE_STAGES = (2, 3, 5, 7)


@dataclass(frozen=True)
class BlockShape:
    """One inverted residual block of the table, its stride as it is without dilation."""

    stage: int
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    expand_ratio: int


def block_shapes(arch: str) -> list[BlockShape]:
    """The blocks of an architecture from the stem to the last stage.

    Args:
        arch: ``'lite0'`` to ``'lite4'``.

    Example:
        >>> [len(block_shapes(arch)) for arch in ARCHITECTURES]
        [16, 21, 21, 24, 30]
    """
    width, depth = ARCHITECTURES[arch]
    shapes, in_channels = [], STEM_CHANNELS
    for stage, (blocks, kernel_size, stride, expand_ratio, channels) in enumerate(STAGES, start=1):
        out_channels = make_divisible(channels * width, 8)
        # The first and the last stage are not repeated more often in the larger networks.
        repeats = blocks if stage in (1, len(STAGES)) else math.ceil(blocks * depth)
        for index in range(repeats):
            shapes.append(
                BlockShape(
                    stage,
                    in_channels,
                    out_channels,
                    kernel_size,
                    stride if index == 0 else 1,
                    expand_ratio,
                )
            )
            in_channels = out_channels
    return shapes


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection, and the input added where it fits."""

    def __init__(self, shape: BlockShape, stride: int, dilation: int, norm_cfg: dict) -> None:
        super().__init__()
        hidden = shape.in_channels * shape.expand_ratio
        layer = dict(norm_cfg=norm_cfg, act_cfg=dict(type='ReLU6'))
        self.expand = (
            nn.Identity()
            if shape.expand_ratio == 1
            else ConvModule(shape.in_channels, hidden, 1, **layer)
        )
        self.depthwise = ConvModule(
            hidden,
            hidden,
            shape.kernel_size,
            groups=hidden,
            **_same_padding(shape.kernel_size, stride, dilation),
            **layer,
        )
        self.project = ConvModule(hidden, shape.out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.adds_input = shape.stride == 1 and shape.in_channels == shape.out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.adds_input else out


def _same_padding(kernel_size: int, stride: int, dilation: int) -> dict:
    """Arguments for TensorFlow's 'same' padding, which a stride makes depend on the image size."""
    if stride == 1:  # the same on both sides, so the convolution can pad by itself
        padding = (kernel_size - 1) // 2 * dilation
        return dict(stride=1, padding=padding, dilation=dilation)
    return dict(stride=stride, dilation=dilation, conv_cfg=dict(type='Conv2dAdaptivePadding'))


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    r"""EfficientNet-Lite0 to Lite4 with features of strides 4, 8, 16 and 32.

    A smaller output stride puts dilation in place of the last strides. At the positions that the
    network of output stride 32 has, the features are then the same.

    *Convention*: images as the ImageNet weights expect them are RGB, :math:`(x - 127) / 128`.
    Convolutions are padded as TensorFlow's ``'same'``: an output has :math:`\lceil h / s \rceil`
    rows, and of an odd padding the larger part is below and on the right.

    Args:
        arch: ``'lite0'`` to ``'lite4'``.
        output_stride: 8, 16 or 32; features of a larger stride have this one instead.
        out_indices: Which of the four features are returned, in ascending order; no block is
            built behind the last.
        frozen_stages: -1 trains everything, 0 freezes the stem, k also the first k of the seven
            stages; their norms use the running statistics.
        norm_cfg: Norm layers; ``eps`` is 1e-3 and ``momentum`` of a batch norm 0.01 unless given,
            as in the original training.
        norm_eval: Whether all batch norms use their running statistics in training.
        with_cp: Whether blocks recompute their activations in the backward pass, to save memory.
        init_cfg: How weights are initialised; ``dict(type='Pretrained',
            checkpoint='efficientnet-lite://lite0')`` for those of ImageNet.

    Attributes:
        out_channels: Channels of the features that are returned.

    Raises:
        ValueError: An argument is not one of the values above, or ``init_cfg`` names the
            pretrained weights of another architecture.

    Example:
        >>> backbone = EfficientNetLite('lite0', output_stride=16)
        >>> [tuple(level.shape) for level in backbone(torch.zeros(1, 3, 64, 96))]
        [(1, 24, 16, 24), (1, 40, 8, 12), (1, 112, 4, 6), (1, 320, 4, 6)]

    Reference:
        Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        ICML 2019; the Lite variants are those of
        ``tensorflow/tpu/models/official/efficientnet/lite``.
    """

    def __init__(
        self,
        arch: str = 'lite0',
        output_stride: int = 32,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        _check_arguments(arch, output_stride, out_indices, frozen_stages, init_cfg)
        super().__init__(init_cfg or _random_weights())
        self.arch = arch
        self.output_stride = output_stride
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        norm_cfg = _norm_with_defaults(norm_cfg)
        self.stem = ConvModule(
            3,
            STEM_CHANNELS,
            3,
            norm_cfg=norm_cfg,
            act_cfg=dict(type='ReLU6'),
            **_same_padding(3, stride=2, dilation=1),
        )
        shapes = block_shapes(arch)
        last = {shape.stage: index for index, shape in enumerate(shapes)}
        self._returned = [last[FEATURE_STAGES[index]] for index in out_indices]
        # Blocks behind the last feature would have no gradient, which DDP does not accept.
        shapes = shapes[: self._returned[-1] + 1]
        self.blocks = nn.ModuleList(_build_blocks(shapes, output_stride, norm_cfg))
        self._stages = [shape.stage for shape in shapes]
        self.out_channels = tuple(shapes[index].out_channels for index in self._returned)
        self._freeze()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Features of images.

        Args:
            x: Images ``(N, 3, H, W)``.

        Returns:
            For each of ``out_indices`` a tensor ``(N, C, ceil(H / stride), ceil(W / stride))``.
        """
        x = self.stem(x)
        features = []
        for index, block in enumerate(self.blocks):
            if self.with_cp and x.requires_grad:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
            if index in self._returned:
                features.append(x)
        return tuple(features)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """As ``nn.Module.train``, but for the frozen stages and, with ``norm_eval``, the norms."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        blocks = zip(self._stages, self.blocks, strict=True)
        frozen = [block for stage, block in blocks if stage <= self.frozen_stages]
        for part in (self.stem, *frozen):
            part.eval()
            part.requires_grad_(False)


def _build_blocks(
    shapes: list[BlockShape], output_stride: int, norm_cfg: dict
) -> list[InvertedResidual]:
    blocks, reached, dilation = [], 2, 1
    for shape in shapes:
        stride, before = shape.stride, dilation
        if reached * stride > output_stride:
            # The block that loses its stride still sees neighbours as far apart as before it.
            stride, dilation = 1, dilation * shape.stride
        reached *= stride
        blocks.append(InvertedResidual(shape, stride, before, norm_cfg))
    return blocks


def _random_weights() -> list[dict]:
    return [
        dict(type='Kaiming', layer='Conv2d'),
        dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
    ]


def _norm_with_defaults(norm_cfg: dict | None) -> dict:
    norm_cfg = {'type': 'BN', 'eps': 1e-3, **(norm_cfg or {})}
    if norm_cfg['type'] in ('BN', 'BN2d', 'SyncBN', 'MMSyncBN'):
        norm_cfg.setdefault('momentum', 0.01)
    return norm_cfg


def _check_arguments(arch, output_stride, out_indices, frozen_stages, init_cfg) -> None:
    if arch not in ARCHITECTURES:
        raise ValueError(f'arch must be one of {", ".join(ARCHITECTURES)}, not {arch!r}')
    if output_stride not in (8, 16, 32):
        raise ValueError(f'output_stride must be 8, 16 or 32, not {output_stride!r}')
    levels = range(len(FEATURE_STAGES))
    if not out_indices or list(out_indices) != sorted(set(out_indices) & set(levels)):
        raise ValueError(
            'out_indices must be ascending numbers out of 0, 1, 2, 3 (strides 4, 8, 16, 32), '
            f'not {out_indices!r}'
        )
    if frozen_stages not in range(-1, len(STAGES) + 1):
        raise ValueError(
            f'frozen_stages must be from -1 (nothing) to {len(STAGES)} (all), not {frozen_stages!r}'
        )
    for one in [init_cfg] if isinstance(init_cfg, dict) else init_cfg or ():
        named = one.get('checkpoint')
        if str(named).startswith(SCHEME) and named != f'{SCHEME}{arch}':
            # MMEngine would only log the weights that do not fit.
            raise ValueError(
                f"init_cfg names {named!r}, but arch is {arch!r}: use checkpoint='{SCHEME}{arch}'"
            )
