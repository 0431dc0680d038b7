"""Losses of the same logits that share their softmax and its backward pass."""

from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_balance.losses.base import SegmentationLoss
from mmseg_balance.runtime.models import losses_together, reads_primitives


@MODELS.register_module()
class PairedLoss(SegmentationLoss):
    r"""Sum of a region loss and a pixel loss, computed together.

    .. math:: \sum_i \lambda_i L_i

    The value and gradient are those of the two in a list, ``loss_decode=[dict(…), dict(…)]``; here the
    logits are read once for both, at little more than the cost of the region loss alone.

    Convention:
        - each loss keeps its own ``loss_weight`` (:math:`\lambda_i`) and class weights; the log has
          their sum.
        - it pays for one loss that reads ``overlap_sums`` and one that reads ``pixel_nll``: Dice,
          IoU or Tversky with cross entropy, focal loss, LMP or OHEM. Others are merely added.

    Args:
        losses: configs of the losses.
        loss_weight, loss_name: as in all losses; class weights go into the losses' own configs.

    Raises:
        ValueError: fewer than two losses, or ``class_weight``.

    Example:
        >>> import torch
        >>> loss = PairedLoss([dict(type='SoftDiceLoss'), dict(type='WeightedCrossEntropyLoss')])
        >>> logits = torch.zeros(1, 2, 1, 2)
        >>> loss(logits, torch.tensor([[[0, 1]]]))  # 1 - 1 / 1.5 + log 2
        tensor(1.0265)
    """

    def __init__(
        self,
        losses: list[dict],
        loss_weight: float = 1.0,
        loss_name: str = 'loss_paired',
        **leftovers,
    ) -> None:
        if leftovers.get('class_weight') is not None:
            raise ValueError(
                f'class_weight={leftovers["class_weight"]!r} of PairedLoss would weigh nothing: put it '
                "into the configs in losses, dict(type='…', class_weight=…); if the base config left "
                "it there, start from an empty one: loss_decode=dict(_delete_=True, type='PairedLoss', "
                '…).'
            )
        super().__init__(loss_weight, loss_name, **leftovers)
        if len(losses) < 2:
            raise ValueError(f'losses={losses!r} must be the configs of two losses or more.')
        self.losses = nn.ModuleList(MODELS.build(config) for config in losses)

    @property
    def supports_low_resolution(self) -> bool:
        return all(map(reads_primitives, self.losses))

    @property
    def takes_points(self) -> bool:
        return all(getattr(loss, 'takes_points', True) for loss in self.losses)

    def value(self, logits, labels, ignore_index, weight, avg_factor, reduction) -> Tensor:
        values = losses_together(
            self.losses,
            logits,
            labels,
            weight=weight,
            avg_factor=avg_factor,
            reduction_override=reduction,
            ignore_index=ignore_index,
        )
        return sum(values)
