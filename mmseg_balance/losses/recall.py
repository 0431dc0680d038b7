"""Recall loss."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_balance.functional.arguments import below_one
from mmseg_balance.functional.recall import recall_loss
from mmseg_balance.losses.base import PixelLoss


@MODELS.register_module()
class RecallLoss(PixelLoss):
    r"""Cross entropy weighted by the share of its class that is missed (Tian eq. 5).

    .. math:: \frac{\sum_x w_{y_x} (1 - R_{y_x}) (-\log p_{x y_x})}{\sum_x w_{y_x}}

    Convention: that of :func:`~mmseg_balance.functional.recall.recall_loss`. Once every pixel of a
    class is right its weight is 0, so the loss ends where the errors end.

    Args:
        momentum: 0 weighs by the recall of the batch at hand; above it, by a moving average with
            this share of the past, kept in the checkpoint and updated in training only. Without
            ``sync`` each process has its own, and the checkpoint keeps that of the first.
        sync: recall, numerator and denominator over all processes.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> logits = torch.tensor([1., 0.]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
        >>> RecallLoss()(logits, torch.tensor([[[0, 1]]]))  # (0 * 0.3133 + 1 * 1.3133) / 2
        tensor(0.6566)
    """

    supports_low_resolution = True

    def __init__(
        self,
        momentum: float = 0.0,
        sync: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_recall',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        self.momentum = below_one('momentum', momentum)
        self.sync = sync
        # Its length is known with the first logits, or with a checkpoint. No buffer: EMAHook pairs
        # the buffers of a model that it has copied before that.
        self.running_recall = torch.empty(0) if momentum else None

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        running = self.running_recall
        if running is not None:
            num_classes = max(logits.shape[1], 2)
            if len(running) != num_classes:  # the first batch, or a checkpoint of another head
                running = torch.full((num_classes,), torch.nan)
            running = running.to(logits.device)
        losses, recall = recall_loss(
            logits,
            labels,
            ignore_index=ignore_index,
            running_recall=running,
            momentum=self.momentum,
            sync=self.sync,
        )
        # Without gradients it is OHEMPixelSampler that asks, and the step comes again.
        if running is not None and self.training and torch.is_grad_enabled():
            self.running_recall = recall.detach().float()
        return losses

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.running_recall is not None:
            destination[f'{prefix}running_recall'] = self.running_recall

    def _load_from_state_dict(
        self, state_dict, prefix, metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        key = f'{prefix}running_recall'
        if self.running_recall is not None and key in state_dict:
            self.running_recall = state_dict[key].clone()
            if key in unexpected_keys:
                unexpected_keys.remove(key)
