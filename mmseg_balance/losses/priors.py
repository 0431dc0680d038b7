"""Losses that know how often each class occurs: LDAM and logit adjustment."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_balance.functional.class_weights import class_priors
from mmseg_balance.functional.priors import ldam_loss, ldam_margins, logit_adjusted_loss
from mmseg_balance.losses.base import PixelLoss
from mmseg_balance.statistics import ClassStatistics, load_statistics, name_of_run


class PriorLoss(PixelLoss):
    """Reads the statistics when training begins, as class weights do."""

    def __init__(
        self,
        statistics: str | ClassStatistics,
        loss_weight: float,
        loss_name: str,
        class_weight,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        self._statistics = statistics
        self._run = name_of_run()
        # No buffer: EMAHook pairs the buffers of a model that it has copied before this is read.
        self.table: Tensor | None = None

    def class_table(self, statistics: ClassStatistics) -> Tensor:
        """``(C,)`` what the loss needs to know of each class: its pixels."""
        return torch.as_tensor(statistics.pixels, dtype=torch.float64)

    def read_statistics(self, dataset=None) -> None:
        """Read the statistics, unless that has been done.

        Args:
            dataset: what ``statistics='auto'`` means, by default the training set of the run in
                which this loss was built.
        """
        if self.table is None:
            dataset = dataset if self._statistics == 'auto' else None
            self.table = self.class_table(load_statistics(self._statistics, dataset, self._run))

    def table_for(self, logits: Tensor) -> Tensor:
        """The table on the logits' device, checked against their classes."""
        if self.table is None:
            torch.compiler.disable(self.read_statistics)()  # beside a compiled step
        num_classes = max(logits.shape[1], 2)
        if len(self.table) != num_classes:
            raise ValueError(
                f'statistics have {len(self.table)} classes and the head {num_classes}; count the '
                'labels again with mmseg-balance class_stats on this config.'
            )
        if self.table.device != logits.device:
            self.table = self.table.to(logits.device)
        return self.table


@MODELS.register_module()
class LDAMLoss(PriorLoss):
    r"""Cross entropy with label-distribution-aware margins (Cao et al. 2019).

    .. math:: -\log \mathrm{softmax}\big(s\,(z - \Delta_y e_y)\big)_y, \qquad
              \Delta_c = \texttt{max\_margin}\,(n_{\min} / n_c)^{1/4}

    Convention: that of :func:`~mmseg_balance.functional.priors.ldam_loss`.

    Args:
        statistics: path of the class statistics, or ``'auto'``.
        max_margin: margin of the rarest class.
        scale: s; the paper's 30 is for logits in [-1, 1] (a cosine classifier), choose about 1 for
            an ordinary head.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> loss = LDAMLoss(statistics='statistics.npz', scale=1.)
        >>> loss.loss_name
        'loss_ldam'
    """

    def __init__(
        self,
        statistics: str | ClassStatistics,
        max_margin: float = 0.5,
        scale: float = 30.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ldam',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(statistics, loss_weight, loss_name, class_weight, **leftovers)
        if not max_margin >= 0 or not scale > 0:
            raise ValueError(
                f'max_margin={max_margin} must not be negative and scale={scale} must be positive.'
            )
        self.max_margin, self.scale = max_margin, scale

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        margins = ldam_margins(self.table_for(logits), self.max_margin)
        return ldam_loss(logits, labels, margins, ignore_index=ignore_index, scale=self.scale)


@MODELS.register_module()
class LogitAdjustedLoss(PriorLoss):
    r"""Cross entropy of logits shifted by the class priors (Menon et al. 2021, eq. 10).

    .. math:: -\log \mathrm{softmax}(z + \tau \log \pi)_y

    Convention: that of :func:`~mmseg_balance.functional.priors.logit_adjusted_loss`. The shift is
    for training only; the network's own logits are then those of balanced classes.

    Args:
        statistics: path of the class statistics, or ``'auto'``.
        tau: strength; 0 is cross entropy.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> loss = LogitAdjustedLoss(statistics='statistics.npz', tau=0.5)
        >>> loss.tau
        0.5
    """

    supports_low_resolution = True

    def __init__(
        self,
        statistics: str | ClassStatistics,
        tau: float = 1.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_logit_adjusted',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(statistics, loss_weight, loss_name, class_weight, **leftovers)
        self.tau = tau

    def class_table(self, statistics: ClassStatistics) -> Tensor:
        return torch.as_tensor(class_priors(statistics))

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        return logit_adjusted_loss(
            logits, labels, self.table_for(logits), ignore_index=ignore_index, tau=self.tau
        )
