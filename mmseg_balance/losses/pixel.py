"""Weighted cross entropy and focal loss."""

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_balance.functional.arguments import below_one, not_negative
from mmseg_balance.functional.labels import label_lookup
from mmseg_balance.functional.pixel import softmax_focal_loss, weighted_cross_entropy_loss
from mmseg_balance.losses.base import PixelLoss


@MODELS.register_module()
class WeightedCrossEntropyLoss(PixelLoss):
    r"""Class-weighted cross entropy, safe with any ignore index (Taubert eq. 1).

    .. math:: \frac{\sum_x w_{y_x} (-\log p_{x y_x})}{\sum_x w_{y_x}}

    Convention: that of :func:`~mmseg_balance.functional.pixel.weighted_cross_entropy_loss` and
    :func:`~mmseg_balance.functional.pixel.reduce_pixel_losses`; equal to
    ``F.cross_entropy(weight, ignore_index, label_smoothing)``.

    Args:
        label_smoothing: share of the target given to all classes alike, in [0, 1).
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> loss = WeightedCrossEntropyLoss(class_weight=[3., 1.])
        >>> logits = torch.tensor([2., 0.]).view(1, 2, 1, 1).expand(1, 2, 1, 3)
        >>> loss(logits, torch.tensor([[[0, 1, 255]]]))  # (3 * 0.1269 + 2.1269) / 4
        tensor(0.6269)
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_weighted_cross_entropy',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        self.label_smoothing = below_one('label_smoothing', label_smoothing)

    @property
    def supports_low_resolution(self) -> bool:
        return not self.label_smoothing

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        return weighted_cross_entropy_loss(
            logits, labels, ignore_index=ignore_index, label_smoothing=self.label_smoothing
        )

    def weighted_pixel_losses(
        self, logits: Tensor, labels: Tensor, ignore_index: int, class_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        if not self.label_smoothing:
            return super().weighted_pixel_losses(logits, labels, ignore_index, class_weight)
        losses = weighted_cross_entropy_loss(  # each class, not only the label's, has a share
            logits,
            labels,
            ignore_index=ignore_index,
            class_weight=class_weight,
            label_smoothing=self.label_smoothing,
        )
        return losses, label_lookup(class_weight, labels, ignore_index)


@MODELS.register_module()
class SoftmaxFocalLoss(PixelLoss):
    r"""Focal loss of the softmax (Lin et al. 2017; Taubert eq. 3).

    .. math:: \frac{\sum_x w_{y_x} (1 - p_{x y_x})^\gamma (-\log p_{x y_x})}{\sum_x w_{y_x}}

    Convention: that of :func:`~mmseg_balance.functional.pixel.softmax_focal_loss` and
    :func:`~mmseg_balance.functional.pixel.reduce_pixel_losses`.

    Args:
        gamma: how much easy pixels are played down; 0 is cross entropy.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> SoftmaxFocalLoss()(torch.zeros(1, 2, 1, 1), torch.tensor([[[0]]]))
        tensor(0.1733)
    """

    supports_low_resolution = True

    def __init__(
        self,
        gamma: float = 2.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_softmax_focal',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        self.gamma = not_negative('gamma', gamma)

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        return softmax_focal_loss(logits, labels, ignore_index=ignore_index, gamma=self.gamma)
