"""The model of a config, built without weights: does it build and run, and what does it put out?"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from mmengine.config import Config
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_balance.doctor.config_view import preprocessor_of
from mmseg_balance.runtime.cpu import replace_sync_bn

DEFAULT_SIZE = (512, 512)
# Heads with these call ``forward`` on the feature maps alone.
STOCK_LOSS = (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss)
# A failure that names one of these is of the device or the installation, not of the model.
OUTSIDE = ('meta', 'cuda', 'nvidia', 'mmcv')


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
        features = self.module.extract_feat(self._images(batch_size))
        output = _forward(_stages(self.module.decode_head), features)
        while isinstance(output, (tuple, list)):
            output = output[0]
        return tuple(output.shape)

    def failures(self) -> Iterator[tuple[str, Exception, str]]:
        """Where the forward pass of a training step fails: key, error, what a head takes and is given.

        Only of segmentors and heads that MMSegmentation calls as it is done here.
        """
        if not isinstance(self.module, EncoderDecoder):
            return
        self.module.train()
        features, problem = _tried(lambda: self.module.extract_feat(self._images(2)))
        if problem is not None:
            yield 'model.backbone', problem, ''
        if features is None:
            return
        for key, stages in self._heads():
            if all(type(stage).loss in STOCK_LOSS for stage in stages):
                _, problem = _tried(lambda stages=stages: _forward(stages, features))
                if problem is not None:
                    yield key, problem, _taken_and_given(stages[0], features)

    def _heads(self) -> Iterator[tuple[str, list[nn.Module]]]:
        """Key and stages of the decode head, then of every auxiliary head."""
        yield 'model.decode_head', _stages(self.module.decode_head)
        auxiliary = getattr(self.module, 'auxiliary_head', None)
        if isinstance(auxiliary, nn.ModuleList):
            yield from ((f'model.auxiliary_head.{i}', [one]) for i, one in enumerate(auxiliary))
        elif auxiliary is not None:
            yield 'model.auxiliary_head', [auxiliary]

    def _images(self, number: int) -> Tensor:
        # An attribute in_channels may be that of the last layer, as in MobileNetV2.
        layers = self.module.backbone.modules()
        channels = next((one.in_channels for one in layers if isinstance(one, nn.Conv2d)), 3)
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


def _stages(head: nn.Module) -> list[nn.Module]:
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def _taken_and_given(head: nn.Module, features) -> str:
    maps = features if isinstance(features, (list, tuple)) else [features]
    channels = ', '.join(str(one.shape[1]) for one in maps if isinstance(one, Tensor))
    return (
        f'takes in_index={head.in_index} with in_channels={head.in_channels}, and is given '
        f'{len(maps)} feature maps of {channels} channels'
    )


def _forward(stages: Sequence[nn.Module], features):
    """Output of a head, or of the last head of a cascade."""
    output = stages[0].forward(features)
    for stage in stages[1:]:
        output = stage.forward(features, output)
    return output


def _tried(run: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What a part of the model gives, and what it raises that is the model's fault; else None."""
    try:
        return run(), None
    except (IndexError, RuntimeError) as error:
        of_outside = any(name in str(error).lower() for name in OUTSIDE)
        return None, None if of_outside or isinstance(error, NotImplementedError) else error
    except Exception:  # of another make: nothing can be said
        return None, None


def training_size(config: Config) -> tuple[int, int]:
    """Height and width of a training batch, by preprocessor and crop."""
    for size in (preprocessor_of(config).get('size'), config.get('crop_size')):
        if isinstance(size, (tuple, list)) and len(size) == 2:
            return int(size[0]), int(size[1])
        if isinstance(size, int):
            return size, size
    return DEFAULT_SIZE
