"""Balancing logit variation."""

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_balance.functional.blv import blv_loss, class_variation
from mmseg_balance.functional.pixel import weighted_cross_entropy_loss
from mmseg_balance.losses.priors import PriorLoss
from mmseg_balance.statistics import ClassStatistics


@MODELS.register_module()
class BalancedVariationLoss(PriorLoss):
    r"""Cross entropy of logits with noise that grows with a class's rarity (Wang et al. 2023).

    .. math:: -\log \mathrm{softmax}\big(z + v \odot \min(|\delta|, b)\big)_y, \qquad
              \delta \sim \mathcal N(0, \sigma^2), \quad
              v_c = \frac{\log n_{\max} - \log n_c}{\log n_{\max} - \log n_{\min}}

    Convention: that of :func:`~mmseg_balance.functional.blv.blv_loss`. Noise in training only: in
    ``eval()`` it is cross entropy. The default random generator of the device draws it, so that
    ``randomness = dict(seed=…)`` decides it, and with ``IterationSeedHook`` resume is exact.

    Args:
        statistics: path of the class statistics, or ``'auto'``.
        sigma: standard deviation of the noise before its bound.
        bound: largest noise; 0.9 of it is the mean for the default ``sigma``.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> loss = BalancedVariationLoss(statistics='statistics.npz')
        >>> loss.loss_name
        'loss_balanced_variation'
    """

    def __init__(
        self,
        statistics: str | ClassStatistics,
        sigma: float = 4.0,
        bound: float = 1.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_balanced_variation',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(statistics, loss_weight, loss_name, class_weight, **leftovers)
        if not (sigma > 0 and bound > 0):
            raise ValueError(
                f'sigma={sigma} and bound={bound} must be positive (4 and 1 are the '
                "authors'); without noise take WeightedCrossEntropyLoss."
            )
        self.sigma, self.bound = sigma, bound

    def class_table(self, statistics: ClassStatistics) -> Tensor:
        return class_variation(super().class_table(statistics))

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        variation = self.table_for(logits)
        if not self.training:
            return weighted_cross_entropy_loss(logits, labels, ignore_index=ignore_index)
        return blv_loss(
            logits, labels, variation, ignore_index=ignore_index, sigma=self.sigma, bound=self.bound
        )
