"""Centre-line Dice."""

from collections.abc import Sequence

from mmseg.registry import MODELS

from mmseg_balance.functional.arguments import not_negative, one_of
from mmseg_balance.functional.centerline import (
    centerline_dice_loss,
    check_iterations,
    check_thin_classes,
)
from mmseg_balance.losses.base import RegionLoss


@MODELS.register_module()
class CenterlineDiceLoss(RegionLoss):
    r"""Soft clDice loss of thin classes: how much of each skeleton lies in the other's region.

    .. math:: 1 - \frac{\sum_c w_c D_c}{\sum_c w_c}, \qquad D_c = \frac{2\, R_c S_c}{R_c + S_c}

    Convention: that of :func:`~mmseg_balance.functional.centerline.centerline_dice_loss`, which
    defines topology precision R and sensitivity S. It says nothing about other classes and little
    about widths: put it into a list with a Dice loss or cross entropy, as in
    ``configs/_base_/losses/centerline_dice.py``.

    Args:
        thin_classes: indices of the classes, in the data set's order; of a one-channel head 1 is
            the foreground.
        iterations: erosions of the skeleton: at least half the width of the structures, in pixels
            of the training crop.
        over: ``'batch'`` pools all images, ``'image'`` averages over them.
        smooth: added to numerators and denominators.
        sync: sums over all processes.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
        >>> sure = 20. * (2 * labels.unsqueeze(1) - 1)
        >>> CenterlineDiceLoss(thin_classes=[1])(sure, labels)
        tensor(0.)

    Reference:
        Shit et al. 2021, clDice.
    """

    takes_points = False
    function = staticmethod(centerline_dice_loss)
    options = ('thin_classes', 'iterations', 'over', 'smooth', 'sync')

    def __init__(
        self,
        thin_classes: Sequence[int],
        iterations: int = 5,
        over: str = 'batch',
        smooth: float = 1.0,
        sync: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_centerline_dice',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        check_thin_classes(thin_classes)
        self.thin_classes = tuple(thin_classes)
        self.iterations = check_iterations(iterations)
        self.over = one_of('over', over, ('batch', 'image'))
        self.smooth = not_negative('smooth', smooth)
        self.sync = sync
