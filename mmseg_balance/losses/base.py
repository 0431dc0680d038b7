"""What heads expect of a loss, once for the losses of pixels and once for those of regions."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmseg_balance.functional.labels import ignored_label, label_lookup
from mmseg_balance.functional.pixel import reduce_pixel_losses
from mmseg_balance.losses.class_weight import ClassWeight

# What a stock loss leaves behind when MMEngine merges ``loss_decode=dict(type='LMPLoss')`` into its
# config. The losses here take sigmoid on one channel, softmax on several, and means over valid pixels.
STOCK_ARGUMENTS = ('use_sigmoid', 'avg_non_ignore')


class SegmentationLoss(nn.Module):
    """The arguments that all losses share.

    ``supports_low_resolution``: whether ``UpsampledLogits`` will do, because the loss reads the
    logits through the primitives alone (see ``FusedLossHook``). ``is_region``: it leaves the pixel
    losses to the one that comes after it (see ``PairedLoss``). ``takes_points``: whether single
    points will do, because the loss knows no neighbourhood.

    Args:
        loss_weight: factor of the loss, read at each call (``LossScheduleHook`` moves it).
        loss_name: key of the loss in the log; it must contain 'loss' to be optimised.
        class_weight: see :class:`~mmseg_balance.losses.class_weight.ClassWeight`.
        **leftovers: ``use_sigmoid`` and ``avg_non_ignore`` of a stock config.

    Raises:
        TypeError: an argument that the loss does not have.
        ValueError: a ``loss_name`` that would not be optimised.
    """

    supports_low_resolution: bool = False
    is_region: bool = False
    takes_points: bool = True

    def __init__(
        self,
        loss_weight: float = 1.0,
        loss_name: str = 'loss',
        class_weight: Any = None,
        **leftovers: Any,
    ) -> None:
        super().__init__()
        if 'loss' not in loss_name:
            raise ValueError(
                f"loss_name={loss_name!r} must contain 'loss': MMEngine optimises only the entries "
                'that do.'
            )
        refuse_unknown(type(self), leftovers)
        self.use_sigmoid = bool(leftovers.get('use_sigmoid', False))
        self.loss_weight = loss_weight
        self._loss_name = loss_name
        self.class_weight = ClassWeight(class_weight)

    @property
    def loss_name(self) -> str:
        return self._loss_name

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = 255,
    ) -> Tensor:
        """The loss as a decode head calls it.

        Args:
            logits: ``(N, C, H, W)``, or ``(N, C, P)`` of the points that PointHead samples.
            labels: ``(N, H, W)`` or ``(N, P)`` integers in ``[0, C)``, or ``ignore_index``.
            weight: of the shape of labels, weights of the pixels, as OHEMPixelSampler makes them.
            avg_factor: denominator in place of the number of valid pixels.
            reduction_override: ``'none'`` for the shape of labels, ``'sum'``, or ``'mean'``.
            ignore_index: the label of pixels that do not count; None: there is no such label.

        Returns:
            A scalar, or of the shape of labels, times ``loss_weight``.

        Raises:
            ValueError: a loss of regions and a reduction or ``avg_factor`` that it cannot have;
                ``avg_factor`` with ``'sum'``; one binary problem per class; points for a loss that
                reads the neighbours of a pixel.
        """
        if self.use_sigmoid and logits.shape[1] > 1:
            raise ValueError(
                f'use_sigmoid=True on {logits.shape[1]} channels means one binary problem per class, '
                f'and {type(self).__name__} is a softmax over them: remove use_sigmoid, or take '
                "MMSegmentation's loss (one channel is sigmoid here, too)."
            )
        points = len(logits.shape) == 3
        if points:  # an image of one column
            self._refuse_points(logits)
            logits, labels = logits.unsqueeze(-1), labels.unsqueeze(-1)
            weight = None if weight is None else weight.unsqueeze(-1)
        ignored = ignored_label(ignore_index)
        value = self.value(logits, labels, ignored, weight, avg_factor, reduction_override)
        return self.loss_weight * (value.squeeze(-1) if points else value)

    def _refuse_points(self, logits: Tensor) -> None:
        if not self.takes_points:
            raise ValueError(
                f'{type(self).__name__} reads the neighbours of a pixel, and logits '
                f'{tuple(logits.shape)} are of single points, as PointHead has them: give this '
                'head another loss.'
            )

    def value(
        self,
        logits: Tensor,
        labels: Tensor,
        ignore_index: int,
        weight: Tensor | None,
        avg_factor: float | None,
        reduction: str | None,
    ) -> Tensor:
        """The loss before ``loss_weight``; ``reduction`` None is the loss's own."""
        raise NotImplementedError


def refuse_unknown(loss: type, arguments: dict[str, Any]) -> None:
    """Raise TypeError, with the arguments that there are, for one that the loss does not have."""
    unknown = [name for name in arguments if name not in STOCK_ARGUMENTS]
    if not unknown:
        return
    parameters = inspect.signature(loss.__init__).parameters.values()
    known = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD and p.name != 'self']
    raise TypeError(
        f'{loss.__name__} has no argument {", ".join(map(repr, unknown))}; it has '
        f'{", ".join(known)}. If the base config left it there, start from an empty one: '
        f"loss_decode=dict(_delete_=True, type='{loss.__name__}', …)."
    )


class PixelLoss(SegmentationLoss):
    """A loss with a value per pixel, which a subclass computes in ``pixel_losses``.

    Class weights, pixel weights, the mean and ``loss_weight`` come in here.
    """

    sync: bool = False  # whether numerator and denominator are summed over all processes

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        """``(N, H, W)`` losses without class weights, 0 where ignored."""
        raise NotImplementedError

    def weighted_pixel_losses(
        self, logits: Tensor, labels: Tensor, ignore_index: int, class_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``(N, H, W)`` losses with class weights, and the weight of each pixel's label.

        Label smoothing alone has another formula than the product here.
        """
        losses = self.pixel_losses(logits, labels, ignore_index)
        label_weight = label_lookup(class_weight, labels, ignore_index)
        return losses * label_weight, label_weight

    def value(self, logits, labels, ignore_index, weight, avg_factor, reduction) -> Tensor:
        class_weight, label_weight = self.class_weight(logits), None
        if class_weight is None:
            losses = self.pixel_losses(logits, labels, ignore_index)
        else:
            losses, label_weight = self.weighted_pixel_losses(
                logits, labels, ignore_index, class_weight
            )
        return reduce_pixel_losses(
            losses,
            labels,
            ignore_index=ignore_index,
            label_weight=label_weight,
            weight=weight,
            avg_factor=avg_factor,
            reduction=reduction or 'mean',
            sync=self.sync,
        )


class RegionLoss(SegmentationLoss):
    """A loss of whole regions: a ``function``, called with the attributes named in ``options``.

    A subclass names both, or computes the loss in ``region_loss`` of its own.
    """

    is_region = True
    function: Callable[..., Tensor]
    options: tuple[str, ...] = ()

    def region_loss(
        self,
        logits: Tensor,
        labels: Tensor,
        ignore_index: int,
        weight: Tensor | None,
        class_weight: Tensor | None,
    ) -> Tensor:
        """A scalar; ``weight`` is ``(N, H, W)``, ``class_weight`` ``(C,)``."""
        return self.function(
            logits,
            labels,
            ignore_index=ignore_index,
            class_weight=class_weight,
            weight=weight,
            **{name: getattr(self, name) for name in self.options},
        )

    def value(self, logits, labels, ignore_index, weight, avg_factor, reduction) -> Tensor:
        if reduction not in (None, 'mean') or avg_factor is not None:
            raise ValueError(
                f'{type(self).__name__} has no value per pixel (reduction_override='
                f'{reduction!r}, avg_factor={avg_factor}): use a pixel loss such as '
                'WeightedCrossEntropyLoss with OHEMPixelSampler, or remove the sampler.'
            )
        return self.region_loss(logits, labels, ignore_index, weight, self.class_weight(logits))
