"""What heads expect of a loss, once for the losses of pixels and once for those of overlaps."""

import inspect
from typing import ClassVar

from torch import Tensor, nn

from mmseg_balance.functional.pixel import reduce_pixel_losses
from mmseg_balance.losses.class_weight import ClassWeight


class _MergesIntoStockConfigs(type):
    """Lets ``loss_decode=dict(type='LMPLoss')`` stand in a config over a stock one.

    MMEngine merges the two dicts, and the arguments of MMSegmentation's cross entropy stay behind.
    These two say what holds here anyway: sigmoid on one channel and softmax on several, and means
    over valid pixels.
    """

    def __call__(cls, *args, use_sigmoid: bool = False, avg_non_ignore: bool = True, **kwargs):
        _refuse_unknown(cls, kwargs)
        return super().__call__(*args, **kwargs)


def _refuse_unknown(cls: type, arguments: dict) -> None:
    known = inspect.signature(cls.__init__).parameters
    unknown = [name for name in arguments if name not in known]
    if unknown and all(one.kind is not one.VAR_KEYWORD for one in known.values()):
        raise TypeError(
            f'{cls.__name__} has no argument {", ".join(map(repr, unknown))}; it has '
            f'{", ".join(list(known)[1:])}. If the base config left it there, start over: '
            f"loss_decode=dict(_delete_=True, type='{cls.__name__}', …)."
        )


class SegmentationLoss(nn.Module, metaclass=_MergesIntoStockConfigs):
    """The arguments that all losses share.

    ``supports_low_resolution``: whether ``UpsampledLogits`` will do, because the loss reads the
    logits through the primitives alone (see ``FusedLossHook``).

    Args:
        loss_weight: factor of the loss, read at each call (``LossScheduleHook`` moves it).
        loss_name: key of the loss in the log; it must contain 'loss' to be optimised.
        class_weight: see :class:`~mmseg_balance.losses.class_weight.ClassWeight`.
    """

    supports_low_resolution: bool = False

    def __init__(
        self, loss_weight: float = 1.0, loss_name: str = 'loss', class_weight=None
    ) -> None:
        super().__init__()
        if 'loss' not in loss_name:
            raise ValueError(
                f"loss_name={loss_name!r} must contain 'loss': MMEngine optimises only the entries that do."
            )
        self.loss_weight = loss_weight
        self._loss_name = loss_name
        self.class_weight = ClassWeight(class_weight)

    @property
    def loss_name(self) -> str:
        return self._loss_name


class PixelLoss(SegmentationLoss):
    """A loss with a value per pixel, which a subclass computes in ``pixel_losses``."""

    sync: bool = False  # whether numerator and denominator are summed over all processes

    def pixel_losses(
        self, logits: Tensor, labels: Tensor, ignore_index: int, class_weight: Tensor | None
    ) -> Tensor:
        """``(N, H, W)`` losses, 0 where ignored, class weights multiplied in."""
        raise NotImplementedError

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """The loss as a decode head calls it.

        Args:
            logits: ``(N, C, H, W)``.
            labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
            weight: ``(N, H, W)`` weights of the pixels, as OHEMPixelSampler makes them.
            avg_factor: denominator in place of the number of valid pixels.
            reduction_override: ``'none'`` for ``(N, H, W)``, ``'sum'``, or ``'mean'``.
            ignore_index: the label of pixels that do not count.

        Returns:
            A scalar, or ``(N, H, W)``, times ``loss_weight``.
        """
        class_weight = self.class_weight(logits)
        losses = self.pixel_losses(logits, labels, ignore_index, class_weight)
        return self.loss_weight * reduce_pixel_losses(
            losses,
            labels,
            ignore_index=ignore_index,
            class_weight=class_weight,
            weight=weight,
            avg_factor=avg_factor,
            reduction=reduction_override or 'mean',
            sync=self.sync,
        )


class RegionLoss(SegmentationLoss):
    """A loss of whole regions, which a subclass computes in ``region_loss``."""

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        'average': ('macro', 'micro'),
        'over': ('batch', 'image'),
        'classes': ('present', 'all'),
    }

    def __init__(
        self, loss_weight: float = 1.0, loss_name: str = 'loss', class_weight=None, **options
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight)
        for name, value in options.items():
            if name in self.CHOICES and value not in self.CHOICES[name]:
                allowed = ' or '.join(map(repr, self.CHOICES[name]))
                raise ValueError(f'{name}={value!r} must be {allowed}.')
            if name not in (*self.CHOICES, 'sync') and not value >= 0:
                raise ValueError(f'{name}={value!r} must not be negative.')
            setattr(self, name, value)
        self._options = tuple(options)

    def region_loss(self, logits: Tensor, labels: Tensor, **arguments) -> Tensor:
        """A scalar; the arguments are those of the function of the same name."""
        raise NotImplementedError

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """The loss as a decode head calls it.

        Args:
            logits: ``(N, C, H, W)``.
            labels: ``(N, H, W)`` integers in ``[0, C)``, or ``ignore_index``.
            weight: ``(N, H, W)`` weights of the pixels.
            avg_factor: refused, a ratio of sums has its own denominator.
            reduction_override: None or ``'mean'``; others are refused.
            ignore_index: the label of pixels that do not count.

        Returns:
            A scalar, times ``loss_weight``.

        Raises:
            ValueError: a reduction or ``avg_factor`` that the loss cannot have.
        """
        if reduction_override not in (None, 'mean') or avg_factor is not None:
            raise ValueError(
                f'{type(self).__name__} has no value per pixel (reduction_override='
                f'{reduction_override!r}, avg_factor={avg_factor}): use a pixel loss such as '
                'WeightedCrossEntropyLoss with OHEMPixelSampler, or remove the sampler.'
            )
        options = {name: getattr(self, name) for name in self._options}
        return self.loss_weight * self.region_loss(
            logits,
            labels,
            ignore_index=ignore_index,
            weight=weight,
            class_weight=self.class_weight(logits),
            **options,
        )
