"""Losses on the head's own logits, which are then never enlarged to the size of the labels."""

from functools import partial

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_balance.functional.labels import count_valid, ignored_label
from mmseg_balance.functional.logits import UpsampledLogits
from mmseg_balance.functional.primitives import pixel_nll
from mmseg_balance.runtime.models import losses_of, losses_together, reads_primitives, unwrapped


@HOOKS.register_module()
class FusedLossHook(Hook):
    """Give low-resolution logits to the losses that can interpolate inside.

    A stock head enlarges its logits to the labels' size (8x in both directions for most) and
    hands them to its losses. With this hook the losses of this package take the small ones and
    interpolate pixel by pixel, with the same result to rounding: for 150 classes at 512x512 this
    saves gigabytes. On a GPU overlap losses take longer for it, pixel losses less. A region and a
    pixel loss of one head share their softmax, as in ``PairedLoss``. It needs one line,
    ``custom_hooks = [dict(type='FusedLossHook')]``.

    Convention:
        - a loss that cannot (``supports_low_resolution`` is not true: MMSegmentation's own,
          Lovász, LDAM, label smoothing) gets the enlarged logits as before, and so does a pixel
          sampler; with one of these in the head there is little left to save.
        - a head that computes its losses in its own way (PointHead, EncHead, STDCHead, …) is left
          as it is; the log names it.
        - ``acc_seg``: the share of valid pixels whose label has the largest logit; a tie counts as
          right, and a one-channel head is right on the right side of 0.
        - half-precision logits are interpolated in float32, a little more exactly than by a head.
        - after training the heads are as they were.

    Example:
        >>> FusedLossHook().fused_heads
        []
    """

    def __init__(self) -> None:
        self.fused_heads: list[BaseDecodeHead] = []

    def before_train(self, runner) -> None:
        self.after_train(runner)  # a run that broke off has left its heads fused
        model = unwrapped(runner.model)
        for name, head in model.named_modules():
            if not isinstance(head, BaseDecodeHead):
                continue
            if type(head).loss_by_feat is not BaseDecodeHead.loss_by_feat or 'loss_by_feat' in vars(
                head
            ):
                print_log(
                    f'FusedLossHook leaves {name} alone: {type(head).__name__} computes its losses in its own way',
                    logger='current',
                )
                continue
            head.loss_by_feat = partial(fused_loss_by_feat, head)
            self.fused_heads.append(head)
            print_log(f'FusedLossHook: {name}{_report(head)}', logger='current')

    def after_train(self, runner) -> None:
        for head in self.fused_heads:
            del head.loss_by_feat
        self.fused_heads.clear()


def fused_loss_by_feat(
    head: BaseDecodeHead, seg_logits: Tensor, batch_data_samples: list
) -> dict[str, Tensor]:
    """``head.loss_by_feat`` without enlarging the logits for losses that do not need it.

    Args:
        head: with its losses, pixel sampler and ignore index.
        seg_logits: ``(N, C, h, w)`` as the head's forward made them.
        batch_data_samples: with the labels.

    Returns:
        The losses by name, equal names added up, and ``acc_seg`` in percent.
    """
    labels = head._stack_batch_gt(batch_data_samples)
    logits = UpsampledLogits(seg_logits, labels.shape[2:], head.align_corners)
    weight = None if head.sampler is None else head.sampler.sample(logits.full, labels)
    labels = labels.squeeze(1)
    found: dict[str, Tensor] = {}
    losses = losses_of(head)
    values = losses_together(losses, logits, labels, weight=weight, ignore_index=head.ignore_index)
    for loss, value in zip(losses, values, strict=True):
        found[loss.loss_name] = found.get(loss.loss_name, 0) + value
    found['acc_seg'] = accuracy(logits.detach(), labels, ignored_label(head.ignore_index))
    return found


@torch.no_grad()
def accuracy(logits: UpsampledLogits, labels: Tensor, ignore_index: int) -> Tensor:
    """Percentage of the valid pixels whose label has the largest logit, shape ``(1,)``."""
    _, hits = pixel_nll(logits, labels, ignore_index, return_hits=True)
    valid = count_valid(labels, ignore_index)
    return (100.0 * hits.sum() / (valid + (valid == 0))).view(1)


def _report(head: BaseDecodeHead) -> str:
    names = [type(loss).__name__ for loss in losses_of(head) if not reads_primitives(loss)]
    names += [] if head.sampler is None else [type(head.sampler).__name__]
    if not names:
        return ' is fused'
    return f' is fused, but its logits are enlarged for {", ".join(names)}'
