"""Loss max-pooling over any pixel loss, and its p = 1, online hard example mining."""

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_balance.functional.labels import valid_and_index
from mmseg_balance.functional.max_pooling import check_max_pooling_arguments, max_pool_weights
from mmseg_balance.functional.pixel import reduce_pixel_losses
from mmseg_balance.losses.base import SegmentationLoss, refuse_unknown


@MODELS.register_module()
class LMPLoss(SegmentationLoss):
    r"""Loss max-pooling (Rota Bulò et al. 2017, equations 4 to 10).

    .. math:: \max \Big\{ \sum_x w_x \ell_x : \|w\|_p \le n^{-1/q},\ \|w\|_\infty \le \tau \Big\},
              \qquad \frac1p + \frac1q = 1,\ m = \texttt{ratio} \cdot n

    Convention:
        - pool: each image's valid pixels (mean over the images that have any), or the batch's,
          which is the CEMP of Taubert et al.
        - denominator: none beyond the weights'; ``avg_factor`` takes the place of the number of
          valid pixels in the mean that the loss bounds.
        - class weights and pixel weights belong to the pixel loss: they come before the pooling.
        - ``reduction_override='none'``: per pixel, n times the optimal weight times its loss.
        - ``p=inf`` or ``ratio=1`` is the plain mean, ``p=1`` that of the hardest m pixels.

    Args:
        p: norm of the weights, 1 <= p <= inf; lower concentrates on fewer pixels.
        ratio: share of the valid pixels that at least carry the loss, in (0, 1].
        pool: ``'image'`` or ``'batch'``.
        pixel_loss: config of the loss that is pooled, any that knows
            ``reduction_override='none'``; cross entropy by default.
        loss_weight, loss_name, class_weight: as in all losses; class weights of a ``pixel_loss``
            go into its own config.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[3., 0.], [0., 0.]]).T.reshape(1, 2, 1, 2)
        >>> LMPLoss(p=1, ratio=0.5)(logits, torch.tensor([[[0, 0]]]))  # the harder pixel: log 2
        tensor(0.6931)
    """

    def __init__(
        self,
        p: float = 1.3,
        ratio: float = 0.25,
        pool: str = 'image',
        pixel_loss: dict | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_lmp',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, **leftovers)
        check_max_pooling_arguments(p, ratio, pool)
        self.p, self.ratio, self.pool = p, ratio, pool
        if pixel_loss is not None and class_weight is not None:
            raise ValueError(
                'class_weight and pixel_loss are both given: put the class weights '
                "into pixel_loss, dict(type='…', class_weight=…)."
            )
        self.pixel_loss = MODELS.build(
            pixel_loss or dict(type='WeightedCrossEntropyLoss', class_weight=class_weight)
        )

    @property
    def supports_low_resolution(self) -> bool:
        return getattr(self.pixel_loss, 'supports_low_resolution', False)

    def value(self, logits, labels, ignore_index, weight, avg_factor, reduction) -> Tensor:
        losses = self.pixel_loss(
            logits, labels, weight=weight, ignore_index=ignore_index, reduction_override='none'
        )
        if losses.dim() != 3:
            raise ValueError(
                f'pixel_loss {type(self.pixel_loss).__name__} has no value per pixel; '
                'pool WeightedCrossEntropyLoss, SoftmaxFocalLoss or their like.'
            )
        valid, _ = valid_and_index(labels, ignore_index)
        weights = max_pool_weights(losses, valid, self.p, self.ratio, self.pool)
        if avg_factor is None and reduction in (None, 'mean'):
            return (losses * weights).sum()  # the pooled loss itself
        # Times n, so that a mean over valid pixels is the pooled loss.
        return reduce_pixel_losses(
            losses * (weights * valid.sum()),
            labels,
            ignore_index=ignore_index,
            avg_factor=avg_factor,
            reduction=reduction or 'mean',
        )


@MODELS.register_module()
class OHEMCrossEntropyLoss(LMPLoss):
    r"""Cross entropy of the hardest share of a batch's pixels: loss max-pooling with p = 1.

    .. math:: \frac1m \sum_{x \in \text{hardest } m} w_{y_x} (-\log p_{x y_x}),
              \qquad m = \texttt{keep\_ratio} \cdot n

    Convention:
        - ranked with their class weights; a fractional m takes the next pixel in part.
        - denominator: m, at least 1.

    Args:
        keep_ratio: share of the valid pixels that is kept, in (0, 1].
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[3., 0.], [0., 0.]]).T.reshape(1, 2, 1, 2)
        >>> OHEMCrossEntropyLoss(keep_ratio=0.5)(logits, torch.tensor([[[0, 0]]]))
        tensor(0.6931)

    Reference:
        Shrivastava et al. 2016; Wu et al. 2016, online bootstrapping.
    """

    def __init__(
        self,
        keep_ratio: float = 0.7,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ohem_cross_entropy',
        class_weight=None,
        **leftovers,
    ) -> None:
        # LMPLoss would take its own: p, ratio, pool, pixel_loss.
        refuse_unknown(type(self), leftovers)
        if not 0 < keep_ratio <= 1:
            raise ValueError(f'keep_ratio={keep_ratio} must be in (0, 1].')
        super().__init__(
            p=1,
            ratio=keep_ratio,
            pool='batch',
            loss_weight=loss_weight,
            loss_name=loss_name,
            class_weight=class_weight,
            **leftovers,
        )

    @property
    def keep_ratio(self) -> float:
        return self.ratio

    @keep_ratio.setter
    def keep_ratio(self, value: float) -> None:
        self.ratio = value
