"""Finding the heads and losses of a model, wrapped or not, and calling losses."""

from collections.abc import Iterator, Sequence

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmseg_balance.functional.logits import PairedLogits, UpsampledLogits

# Heads that tell something else than the data set's classes apart: boundaries.
OTHER_CLASSES = ('STDCHead',)


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


def reads_primitives(loss: nn.Module) -> bool:
    """Whether a loss reads the logits through the primitives alone: low resolution will do."""
    return bool(getattr(loss, 'supports_low_resolution', False))


def losses_together(
    losses: Sequence[nn.Module], logits: Tensor | UpsampledLogits, labels: Tensor, **arguments
) -> list[Tensor]:
    """The value of each loss of the same logits, with one softmax for a region and a pixel loss.

    Args:
        losses: as a head has them; one that does not read the primitives gets full-size logits.
        logits: ``(N, C, H, W)``, or of low resolution.
        labels: ``(N, H, W)``.
        **arguments: what the losses are called with.
    """
    regions = [getattr(loss, 'is_region', False) for loss in losses]
    readers = [reads_primitives(loss) for loss in losses]
    full = logits.full if isinstance(logits, UpsampledLogits) and not all(readers) else logits
    if {True, False} <= {region for region, reader in zip(regions, readers, strict=True) if reader}:
        logits = PairedLogits(logits)  # a region loss leaves the pixel losses to the next
    values = {
        i: losses[i](logits if readers[i] else full, labels, **arguments)
        for i in sorted(range(len(losses)), key=lambda i: not regions[i])
    }
    return [values[i] for i in range(len(losses))]
