"""Write a logit map into a model's classifier, and refuse models where that is not the same.

Most decode heads end in a 1x1 convolution, ``conv_seg``. What follows it, bilinear upsampling,
averaging the windows of slide inference, cutting off padding, is linear with weights that add up
to 1. So ``z / T + b`` at the end equals ``W / T`` and ``bias / T + b`` in that convolution. Heads
that refine, merge or gate their logits afterwards break the equality; :func:`check_folding` finds
out by trying.
"""

import torch
from torch import Tensor, nn

from mmseg_balance.recalibration.logit_map import LogitMap

# Rounding of one convolution, relative to its largest output; a GPU may use TF32 there.
TOLERANCE = {'cpu': 1e-4, 'cuda': 2e-3}


class FoldingError(ValueError):
    """The model's logits are not a linear function of one final convolution."""


def find_classifier(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the convolution that makes the logits.

    Raises:
        FoldingError: if the (last) decode head has no such convolution with a bias.
    """
    head = getattr(model, 'decode_head', None)
    if isinstance(head, nn.ModuleList):
        head = head[-1]
    classifier = getattr(head, 'conv_seg', None)
    if not isinstance(classifier, nn.Conv2d) or classifier.bias is None:
        raise FoldingError(
            f'{type(head).__name__} does not end in a convolution conv_seg with a bias, so no '
            'temperature can be folded into it; use a head that does, such as FCNHead, PSPHead, '
            'ASPPHead, UPerHead or SegformerHead.'
        )
    return next(name for name, part in model.named_modules() if part is classifier), classifier


@torch.no_grad()
def fold(classifier: nn.Conv2d, logit_map: LogitMap) -> None:
    """Make the convolution put out the mapped logits."""
    classifier.weight.div_(logit_map.temperature)
    classifier.bias.div_(logit_map.temperature)
    classifier.bias.add_(classifier.bias.new_tensor(logit_map.bias))


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


def check_folding(model: nn.Module, batch: dict) -> None:
    """Fold a trial map, compare the model's output with what it should be, and take it back.

    Raises:
        FoldingError: if the output isn't the mapped output of the unchanged model.
    """
    _, classifier = find_classifier(model)
    bias = torch.linspace(-1, 1, classifier.out_channels + 2)[1:-1] + 0.25
    trial = LogitMap(1.7, tuple(bias.tolist()))
    before = _image_logits(model, batch)
    weight, offset = classifier.weight.detach().clone(), classifier.bias.detach().clone()
    fold(classifier, trial)
    try:
        after = _image_logits(model, batch)
    finally:
        with torch.no_grad():
            classifier.weight.copy_(weight)
            classifier.bias.copy_(offset)
    error = folding_error(before, after, trial)
    allowed = TOLERANCE.get(weight.device.type, TOLERANCE['cuda'])
    if not error <= allowed:
        raise FoldingError(
            f'scaling conv_seg does not scale the output of {type(model).__name__} (relative error '
            f'{error:.2g}, allowed {allowed:g}): something after it is not linear, as in a '
            'cascade or a refining head; use a head that puts out what conv_seg gives.'
        )


def folding_error(before: list[Tensor], after: list[Tensor], logit_map: LogitMap) -> float:
    """Largest difference of ``after`` from the mapped ``before``, relative to its largest value."""
    worst = 0.0
    for old, new in zip(before, after, strict=True):
        expected = logit_map(old)
        scale = max(float(expected.abs().max()), 1.0)
        worst = max(worst, float((new - expected).abs().max()) / scale)
    return worst


def _image_logits(model: nn.Module, batch: dict) -> list[Tensor]:
    return [sample.seg_logits.data for sample in predicted_logits(model, batch)]
