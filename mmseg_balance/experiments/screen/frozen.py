"""The checkpoint's network, taken apart: a frozen part that makes features, and heads."""

import copy
from collections.abc import Mapping

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_balance.runtime.checkpoints import read_weights
from mmseg_balance.runtime.models import decode_heads

HEAD = 'decode_head.'
LEFT_OUT = ('auxiliary_head.', 'data_preprocessor.')


class ScreeningError(ValueError):
    """A config or checkpoint that cannot be screened, and why."""


def load_frozen(config: Config, checkpoint: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Build the segmentor without auxiliary heads, load its features, and freeze them.

    Args:
        config: The screened config.
        checkpoint: File or URL of a checkpoint that was trained with it.

    Returns:
        The segmentor in evaluation mode without gradients, its head untouched by the checkpoint,
        and the head's weights in the checkpoint, named from ``decode_head.`` on.

    Raises:
        ScreeningError: features and heads cannot be told apart, the head's loss cannot be chosen,
            or the checkpoint is another network's.
    """
    settings = copy.deepcopy(config.model)
    for part in ('backbone', 'decode_head'):
        if not settings.get(part):
            raise ScreeningError(
                f'model.type {settings.get("type")!r} has no {part} of its own in the config; screen '
                'needs a segmentor with backbone and decode_head, such as EncoderDecoder.'
            )
    settings.auxiliary_head = None
    settings.pop('pretrained', None)
    settings.backbone.pop('init_cfg', None)
    settings.backbone.pop('pretrained', None)
    segmentor = MODELS.build(settings)
    if not all(hasattr(segmentor, name) for name in NEEDED):
        raise ScreeningError(
            f'{type(segmentor).__name__} has no {" or ".join(NEEDED)}; screen needs a segmentor '
            'that is built like EncoderDecoder.'
        )
    if not any(name.startswith('decode_head') for name, _ in decode_heads(segmentor)):
        raise ScreeningError(
            f'{type(segmentor.decode_head).__name__} has no loss_decode: it computes its losses in '
            'its own way (mask classification), so there is no loss to choose.'
        )
    weights, _ = read_weights(checkpoint)
    head = {name: value for name, value in weights.items() if name.startswith(HEAD)}
    features = {
        name: value for name, value in weights.items() if not name.startswith((HEAD, *LEFT_OUT))
    }
    own = {
        name: value for name, value in segmentor.state_dict().items() if not name.startswith(HEAD)
    }
    check_fit(own, features, checkpoint)
    segmentor.load_state_dict(features, strict=False)
    segmentor = revert_sync_batchnorm(segmentor).to(get_device())
    return segmentor.eval().requires_grad_(False), head


NEEDED = ('extract_feat', '_decode_head_forward_train', '_init_decode_head', 'predict')


def make_head(
    segmentor: nn.Module, settings: Mapping, weights: Mapping[str, Tensor] | None, checkpoint: str
) -> nn.Module:
    """Build a head as the segmentor's class does, with the checkpoint's weights or new ones.

    Args:
        segmentor: From :func:`load_frozen`.
        settings: ``model.decode_head`` with the loss.
        weights: The checkpoint's, None to initialise it from scratch.
        checkpoint: Named in errors.

    Raises:
        ScreeningError: the checkpoint's weights are another head's.
    """
    segmentor._init_decode_head(copy.deepcopy(settings))
    head = segmentor.decode_head
    if weights is None:
        for part in head if isinstance(head, nn.ModuleList) else [head]:
            part.init_weights()
    else:
        # Buffers of losses belong to the loss that the checkpoint was trained with.
        kept = {name: value for name, value in weights.items() if '.loss_decode' not in name}
        own = {f'{HEAD}{name}': v for name, v in head.state_dict().items()}
        own = {name: value for name, value in own.items() if '.loss_decode' not in name}
        check_fit(own, kept, checkpoint)
        head.load_state_dict({n.removeprefix(HEAD): v for n, v in kept.items()}, strict=False)
    return revert_sync_batchnorm(head).requires_grad_(True)


def check_fit(own: Mapping[str, Tensor], given: Mapping[str, Tensor], checkpoint: str) -> None:
    """Raise ScreeningError unless names and shapes are the same."""
    missing, extra = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    if missing or extra:
        name, what = (missing[0], 'lacks') if missing else (extra[0], 'has')
        raise ScreeningError(
            f'{checkpoint} {what} {name} (and {len(missing) + len(extra) - 1} other differences): it is '
            'not a checkpoint of this config; give the config that it was trained with.'
        )
    for name, value in own.items():
        if value.shape != given[name].shape:
            raise ScreeningError(
                f'{checkpoint} has {name} of shape {tuple(given[name].shape)} and the config '
                f'{tuple(value.shape)}; give the config that it was trained with.'
            )


class FeatureMemo:
    """``extract_feat`` of a segmentor that computes the features of a batch once for all heads.

    Slide inference asks for several windows one after another; every head asks for the same ones in
    the same order.

    Args:
        segmentor: Its ``extract_feat`` is replaced until :meth:`close`.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        self.segmentor = segmentor
        self._extract = segmentor.extract_feat
        self._kept: list = []
        self._next = 0
        segmentor.extract_feat = self

    def new_batch(self) -> None:
        """Forget the features: what follows is another batch."""
        self._kept.clear()
        self._next = 0

    def new_head(self) -> None:
        """The next head starts with the first window."""
        self._next = 0

    @torch.no_grad()
    def __call__(self, inputs: Tensor):
        if self._next == len(self._kept):
            self._kept.append(self._extract(inputs))
        self._next += 1
        return self._kept[self._next - 1]

    def close(self) -> None:
        """Give the segmentor its own method back."""
        del self.segmentor.extract_feat
        self.new_batch()
