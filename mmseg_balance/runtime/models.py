"""Finding the heads and losses of a model, wrapped or not."""

from collections.abc import Iterator

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """The segmentor inside wrappers such as ``MMDistributedDataParallel``."""
    while is_model_wrapper(model):
        model = model.module
    return model


def decode_heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The heads of a segmentor that compute losses, with their names."""
    for name, module in unwrapped(model).named_modules():
        if hasattr(module, 'loss_decode') and hasattr(module, 'ignore_index'):
            yield name, module


def final_head(model: nn.Module) -> nn.Module:
    """The decode head whose logits are the prediction: of a cascade the last."""
    head = unwrapped(model).decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


def head_classes(head: nn.Module) -> int:
    """How many classes a head tells apart; two on one output channel."""
    return max(head.num_classes, 2)


def losses_of(head: nn.Module) -> list[nn.Module]:
    """The head's losses, one or several."""
    several = isinstance(head.loss_decode, nn.ModuleList)
    return list(head.loss_decode) if several else [head.loss_decode]
