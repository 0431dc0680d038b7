"""Region size."""

from mmseg.registry import MODELS

from mmseg_balance.functional.arguments import one_of
from mmseg_balance.functional.region_size import region_size_loss
from mmseg_balance.losses.base import RegionLoss


@MODELS.register_module()
class RegionSizeLoss(RegionLoss):
    r"""Difference of predicted and labelled proportions, a term beside cross entropy (Liu 2021).

    .. math:: \frac{\sum_c w_c\, |P_c - T_c| / n}{\sum_c w_c}, \qquad n = \sum_c T_c

    Convention: that of :func:`~mmseg_balance.functional.region_size.region_size_loss`. It knows
    sizes and no places: alone it trains nothing of use, so put it into a list with cross entropy,
    as in ``configs/_base_/losses/region_size.py``; its ``loss_weight`` is the paper's factor.

    Args:
        over: ``'image'`` averages over the images as in the paper, ``'batch'`` pools them.
        classes: ``'all'`` counts the predicted size of absent classes as an error, as in the paper;
            ``'present'`` leaves these classes out.
        sync: sums over all processes.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> RegionSizeLoss()(logits, torch.tensor([[[0, 1]]]))
        tensor(0.1250)
    """

    supports_low_resolution = True
    function = staticmethod(region_size_loss)
    options = ('over', 'classes', 'sync')

    def __init__(
        self,
        over: str = 'image',
        classes: str = 'all',
        sync: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_region_size',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        self.over = one_of('over', over, ('batch', 'image'))
        self.classes = one_of('classes', classes, ('present', 'all'))
        self.sync = sync
