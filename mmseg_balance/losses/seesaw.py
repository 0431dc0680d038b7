"""Seesaw loss."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_balance.functional.distributed import sum_over_ranks
from mmseg_balance.functional.labels import check_label_range, sum_by_label
from mmseg_balance.functional.seesaw import softmax_seesaw_loss
from mmseg_balance.losses.priors import PriorLoss
from mmseg_balance.statistics import ClassStatistics


@MODELS.register_module()
class SoftmaxSeesawLoss(PriorLoss):
    r"""Cross entropy that pushes rare classes down less, and mistaken ones more (Wang et al. 2021).

    .. math::
        -\log \frac{e^{z_y}}{e^{z_y} + \sum_{c \ne y} M_{yc} C_{yc}\, e^{z_c}}, \qquad
        M_{yc} = \min\Big(1, \frac{n_c}{n_y}\Big)^p, \qquad
        C_{yc} = \max\Big(1, \frac{p_c}{p_y}\Big)^q

    Convention: that of :func:`~mmseg_balance.functional.seesaw.softmax_seesaw_loss`. The counts n
    are those of the training set (``statistics``), or those of the pixels seen so far
    (``num_classes``), as in the paper: counted in training over all processes, kept in the
    checkpoint. Only their ratios matter.

    Args:
        statistics: path of the class statistics, or ``'auto'``; or None with ``num_classes``.
        num_classes: count the pixels of that many classes (2 for one channel) while training.
        p: exponent of the mitigation factor M; 0 turns it off.
        q: exponent of the compensation factor C; 0 turns it off.
        loss_weight, loss_name, class_weight: as in all losses.

    Raises:
        ValueError: ``statistics`` and ``num_classes`` both given, or neither; a negative exponent.

    Example:
        >>> loss = SoftmaxSeesawLoss(num_classes=2)
        >>> logits = torch.zeros(1, 2, 1, 4)
        >>> loss(logits, torch.tensor([[[0, 0, 0, 1]]]))  # (3 log(1 + 3^-0.8) + log 2) / 4
        tensor(0.4338)
        >>> loss.seen_pixels
        tensor([3, 1])
    """

    def __init__(
        self,
        statistics: str | ClassStatistics | None = None,
        num_classes: int | None = None,
        p: float = 0.8,
        q: float = 2.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_softmax_seesaw',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(statistics, loss_weight, loss_name, class_weight, **leftovers)
        if (statistics is None) == (num_classes is None):
            raise ValueError(
                f'statistics={statistics!r} and num_classes={num_classes!r}: give one of them, '
                "statistics='auto' for the counts of the training set or num_classes to count "
                'while training.'
            )
        if not (p >= 0 and q >= 0):
            raise ValueError(f'p={p} and q={q} must not be negative (0.8 and 2 are common).')
        self.p, self.q = p, q
        # As long from the start as it will be: EMAHook copies the model's buffers one by one.
        # Integers, which model.half() leaves alone.
        seen = None if num_classes is None else torch.zeros(num_classes, dtype=torch.int64)
        self.register_buffer('seen_pixels', seen)

    def read_statistics(self, dataset=None) -> None:
        """Read the statistics, unless that has been done or none are asked for."""
        if self.seen_pixels is None:
            super().read_statistics(dataset)

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        if self.seen_pixels is None:
            pixels = self.table_for(logits)
        else:
            # Without gradients it is OHEMPixelSampler that asks, and the step comes again.
            count = self.training and torch.is_grad_enabled()
            pixels = self._seen(logits, labels, ignore_index, count)
        return softmax_seesaw_loss(
            logits, labels, pixels, ignore_index=ignore_index, p=self.p, q=self.q
        )

    @torch.no_grad()
    def _seen(self, logits: Tensor, labels: Tensor, ignore_index: int, count: bool) -> Tensor:
        """The pixels seen, those of this batch among them if they count."""
        classes = max(logits.shape[1], 2)
        if len(self.seen_pixels) != classes:
            raise ValueError(
                f'num_classes={len(self.seen_pixels)} of SoftmaxSeesawLoss and the head has '
                f'{classes} classes: give the number of the head (2 for one channel).'
            )
        if count:
            check_label_range(labels, classes, ignore_index)
            ones = torch.ones_like(labels, dtype=torch.float32)
            counts = sum_by_label(ones, labels, classes, ignore_index)
            # NaN of an image with a label out of range would be -2^63 in the counts, for good.
            batch = counts.nan_to_num(nan=0).long().sum(0)
            self.seen_pixels += sum_over_ranks(batch).long()
        return self.seen_pixels
