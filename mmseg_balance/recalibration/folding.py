"""Write a logit map into a model's classifier, and refuse models where that is not the same.

Most decode heads end in a 1x1 convolution, ``conv_seg``. What follows it, bilinear upsampling,
averaging the windows of slide inference, cutting off padding, is linear with weights that add up
to 1. So ``s z + b`` at the end equals ``s W`` and ``s bias + b`` in that convolution. Heads
that refine, merge or gate their logits afterwards break the equality; :func:`check_folding` finds
out by trying.
"""

import copy

import torch
from torch import Tensor, nn

from mmseg_balance.recalibration.logit_map import LogitMap

# Rounding of one convolution, relative to its largest output; a GPU may use TF32 there.
TOLERANCE = {'cpu': 1e-4, 'cuda': 2e-3}


class FoldingError(ValueError):
    """The model's logits are not a linear function of one final convolution."""


def candidate_classifiers(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Convolutions that could make the logits, the likeliest first.

    Those of the last decode head with a bias and one output per logit: ``conv_seg`` first, then the
    others from last to first; then ``conv_seg`` of earlier heads of a cascade, for a last head
    without such a convolution.

    Raises:
        FoldingError: there is none.
    """
    head = getattr(model, 'decode_head', None)
    cascade = list(head) if isinstance(head, nn.ModuleList) else [head]
    names = {part: name for name, part in model.named_modules()}
    last = cascade[-1]
    channels = getattr(last, 'out_channels', None)
    found = [getattr(last, 'conv_seg', None)]
    found += reversed(list(last.modules()) if isinstance(last, nn.Module) else [])
    found += [getattr(part, 'conv_seg', None) for part in reversed(cascade[:-1])]
    usable = {
        names[part]: part
        for part in found
        if isinstance(part, nn.Conv2d)
        and part.bias is not None
        and channels in (None, part.out_channels)
    }
    if not usable:
        raise FoldingError(
            f'{type(last).__name__} has no convolution with a bias and one output per class, such '
            'as conv_seg, so no change of the logits can be folded into it; use a head that does, '
            'such as FCNHead, PSPHead, ASPPHead, UPerHead, OCRHead or SegformerHead.'
        )
    return usable


def find_foldable(model: nn.Module, batch: dict) -> tuple[str, nn.Conv2d]:
    """The first candidate whose change changes the model's output in the same way.

    Raises:
        FoldingError: none does; says which were tried, with the first's reason.
    """
    errors = {}
    for name, classifier in candidate_classifiers(model).items():
        try:
            check_folding(model, batch, classifier)
        except FoldingError as error:
            errors[name] = error
        else:
            return name, classifier
    raise FoldingError(f'{next(iter(errors.values()))} Tried: {", ".join(errors)}.')


@torch.no_grad()
def fold(classifier: nn.Conv2d, logit_map: LogitMap) -> None:
    """Make the convolution put out the mapped logits."""
    scale = classifier.weight.new_tensor(logit_map.scale)
    classifier.weight.mul_(scale[:, None, None, None])
    classifier.bias.mul_(scale).add_(classifier.bias.new_tensor(logit_map.bias))


@torch.no_grad()
def predicted_logits(model: nn.Module, batch: dict) -> list:
    """Data samples whose ``seg_logits`` are logits at the labels' size, always two or more.

    MMSegmentation's own prediction puts sigmoid values there for a one-channel head, from which a
    confident logit can't be had back in float32. Here the channel goes through as ``(0, z)``.
    """
    if not (hasattr(model, 'inference') and hasattr(model, 'postprocess_result')):
        raise FoldingError(
            f'{type(model).__name__} has no inference() and postprocess_result() to take logits '
            'from; an EncoderDecoder or a subclass of it is needed.'
        )
    batch = model.data_preprocessor(batch, False)
    samples = batch['data_samples']
    logits = model.inference(batch['inputs'], [sample.metainfo for sample in samples])
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    return model.postprocess_result(logits, samples)


def check_folding(model: nn.Module, batch: dict, classifier: nn.Conv2d) -> None:
    """Fold a trial map, compare the model's output with what it should be, and take it back.

    Args:
        model: The segmentor.
        batch: One batch of the loader.
        classifier: The convolution to try.

    Raises:
        FoldingError: if the output isn't the mapped output of the unchanged model.
    """
    trial = _trial_map(classifier.out_channels)
    before = image_logits(model, batch)
    weight, offset = classifier.weight.detach().clone(), classifier.bias.detach().clone()
    fold(classifier, trial)
    try:
        after = image_logits(model, batch)
    finally:
        with torch.no_grad():
            classifier.weight.copy_(weight)
            classifier.bias.copy_(offset)
    error = folding_error(before, after, trial)
    allowed = TOLERANCE.get(weight.device.type, TOLERANCE['cuda'])
    if not error <= allowed:
        raise FoldingError(
            f'scaling the classifier does not scale the output of {type(model).__name__} (relative error '
            f'{error:.2g}, allowed {allowed:g}): something after it is not linear, as in a '
            'cascade or a refining head; use a head that puts out what its last convolution gives.'
        )


def _trial_map(channels: int) -> LogitMap:
    """Another scale and another bias for each class."""
    bias = torch.linspace(-1, 1, channels + 2)[1:-1] + 0.25
    scale = torch.linspace(0.5, 0.8, channels)
    return LogitMap(tuple(scale.tolist()), tuple(bias.tolist()))


def folding_error(before: list[Tensor], after: list[Tensor], logit_map: LogitMap) -> float:
    """Largest difference of ``after`` from the mapped ``before``, relative to its largest value."""
    worst = 0.0
    for old, new in zip(before, after, strict=True):
        expected = logit_map(old)
        scale = max(float(expected.abs().max()), 1.0)
        worst = max(worst, float((new - expected).abs().max()) / scale)
    return worst


def image_logits(model: nn.Module, batch: dict) -> list[Tensor]:
    """Logits ``(C, H, W)`` of each image of a batch, which is left as it is."""
    return [sample.seg_logits.data for sample in predicted_logits(model, copy.deepcopy(batch))]
