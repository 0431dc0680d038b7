"""A head's pixel sampler that watches how training goes."""

import torch
from mmseg.registry import TASK_UTILS
from mmseg.structures import BasePixelSampler
from torch import Tensor

from mmseg_balance.functional.labels import ignored_label
from mmseg_balance.functional.sampling import add_to_confusion
from mmseg_balance.runtime.models import head_classes


@TASK_UTILS.register_module()
class ConfusionPixelSampler(BasePixelSampler):
    """Counts training predictions; chooses pixels as the sampler it wraps does, or all.

    A head calls its pixel sampler with the full-size logits and labels just before its losses.
    Only every ``stride``-th row and column is counted, from an offset that moves with each call
    (so that no pixel is left out for good): an unbiased estimate of the confusion matrix, for a
    ``stride**2``-th of the cost. There is no host–device synchronisation.

    Args:
        context: the decode head.
        sampler: the head's own pixel sampler, config or object, whose weights are passed on.
        stride: count one pixel in ``stride x stride``.
    """

    def __init__(
        self, context, sampler: dict | BasePixelSampler | None = None, stride: int = 4
    ) -> None:
        super().__init__()
        if stride < 1:
            raise ValueError(f'stride must be at least 1, got {stride}')
        self.context = context
        self.wrapped = (
            TASK_UTILS.build(sampler, default_args={'context': context})
            if isinstance(sampler, dict)
            else sampler
        )
        self.stride = stride
        self.confusion: Tensor | None = None
        self.calls = 0  # they decide on the offset: part of what a checkpoint must hold

    @torch.no_grad()
    def _count(self, seg_logit: Tensor, seg_label: Tensor) -> None:
        row, column = divmod(self.calls % self.stride**2, self.stride)
        self.calls += 1
        logits = seg_logit.detach()[:, :, row :: self.stride, column :: self.stride]
        labels = seg_label[:, 0, row :: self.stride, column :: self.stride]
        labels = torch.where(labels == ignored_label(self.context.ignore_index), -1, labels.long())
        if logits.shape[1] == 1:
            pred = (logits[:, 0].sigmoid() > self.context.threshold).long()
        else:
            pred = logits.argmax(dim=1)
        if self.confusion is None:
            classes = head_classes(self.context)
            self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=pred.device)
        add_to_confusion(self.confusion, pred, labels)

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor | None:
        """Count, and return the pixel weights of the wrapped sampler (None: all pixels).

        Args:
            seg_logit: (N, C, H, W).
            seg_label: (N, 1, H, W).
        """
        self._count(seg_logit, seg_label)
        return None if self.wrapped is None else self.wrapped.sample(seg_logit, seg_label)

    def take(self) -> Tensor | None:
        """Return the confusion matrix (C, C) counted since the last call, and reset it."""
        counted, self.confusion = self.confusion, None
        return counted
