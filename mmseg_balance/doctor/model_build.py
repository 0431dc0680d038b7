"""The model of a config, built without weights: does it build, and what shape has its output?"""

import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_balance.doctor.config_view import preprocessor_of
from mmseg_balance.runtime.cpu import replace_sync_bn

DEFAULT_SIZE = (512, 512)


@contextmanager
def _empty_weights():
    """Modules made inside have no memory and are not initialised."""
    with torch.device('meta'), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # what is worth saying is among the findings
        yield


def build_model(config: Mapping) -> nn.Module:
    """Build a segmentor on the ``meta`` device, where it costs neither memory nor time.

    Raises:
        Exception: whatever the constructors raise.
    """
    content = Config(deepcopy(dict(model=config))).model
    replace_sync_bn(content)  # synchronised batch norm computes on no such device
    for part in (content, content.get('backbone') or {}):
        if part.get('pretrained'):
            part['pretrained'] = None
    try:
        with _empty_weights():
            return MODELS.build(content)
    except (RuntimeError, NotImplementedError) as error:
        if 'meta' not in str(error):
            raise
    # Some backbones compute with tensors while they are built.
    return MODELS.build(content).to('meta')


@dataclass
class BuiltModel:
    """A segmentor on the ``meta`` device.

    Args:
        module: the model.
        size: height and width of a training batch.
        batch_size: images of a training batch.
    """

    module: nn.Module
    size: tuple[int, int]
    batch_size: int

    def logits_shape(self, batch_size: int, training: bool = True) -> tuple[int, ...]:
        """Shape of the decode head's logits, in a training step or in evaluation mode.

        Raises:
            Exception: whatever the model raises for such a batch.
        """
        self.module.train(training)
        head = self.module.decode_head
        stages = list(head) if isinstance(head, nn.ModuleList) else [head]
        features = self.module.extract_feat(self._images(batch_size))
        output = stages[0].forward(features)
        for stage in stages[1:]:
            output = stage.forward(features, output)
        while isinstance(output, (tuple, list)):
            output = output[0]
        return tuple(output.shape)

    def _images(self, number: int) -> torch.Tensor:
        channels = getattr(self.module.backbone, 'in_channels', 3)
        return torch.empty(number, channels, *self.size, device='meta')

    @cached_property
    def head_share(self) -> float:
        """Share of the decode head in the operations of a forward pass; 1 if the model cannot tell."""
        try:
            with FlopCounterMode(display=False) as whole:
                self.logits_shape(1, training=False)
            with FlopCounterMode(display=False) as features:
                self.module.extract_feat(self._images(1))
            return 1 - features.get_total_flops() / whole.get_total_flops()
        except Exception:  # heads of other makes want more than features
            return 1.0

    @cached_property
    def output_stride(self) -> float | None:
        """Training pixels per logit along a side; None if the model does not tell."""
        try:
            shape = self.logits_shape(1, training=False)
        except Exception:  # heads of other makes want more than features
            return None
        return self.size[0] / shape[-2] if len(shape) == 4 else None


def training_size(config: Config) -> tuple[int, int]:
    """Height and width of a training batch, by preprocessor and crop."""
    for size in (preprocessor_of(config).get('size'), config.get('crop_size')):
        if isinstance(size, (tuple, list)) and len(size) == 2:
            return int(size[0]), int(size[1])
        if isinstance(size, int):
            return size, size
    return DEFAULT_SIZE
