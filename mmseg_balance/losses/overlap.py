"""Soft Dice, IoU, Tversky and generalised Dice."""

from mmseg.registry import MODELS

from mmseg_balance.functional.arguments import not_negative, one_of, positive
from mmseg_balance.functional.overlap import (
    check_over,
    generalized_dice_loss,
    soft_dice_loss,
    soft_iou_loss,
    soft_tversky_loss,
)
from mmseg_balance.losses.base import RegionLoss


@MODELS.register_module()
class SoftDiceLoss(RegionLoss):
    r"""Multi-class soft Dice loss: macro is Huang eq. 5, micro Taubert eq. 2.

    .. math:: 1 - \frac{\sum_c w_c D_c}{\sum_c w_c}, \qquad
              D_c = \frac{2 I_c + s}{P_c + T_c + s + \varepsilon}

    Convention: that of :mod:`mmseg_balance.functional.overlap`; formulas in
    :func:`~mmseg_balance.functional.overlap.soft_dice_loss`.

    Args:
        average: ``'macro'``, a mean over classes, or ``'micro'``, one ratio of class-weighted sums.
        over: ``'batch'`` pools all images, ``'image'`` averages over them, ``'image_class'``
            averages each class over the images that have it and then the classes (macro only).
        power: exponent of the probabilities in the denominator, above 0.
        smooth: added to numerator and denominator.
        eps: added to the denominator.
        classes: ``'present'`` leaves absent classes out of the mean, ``'all'`` counts them perfect.
        sync: sums over all processes.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> SoftDiceLoss(power=1)(logits, torch.tensor([[[0, 1]]]))
        tensor(0.3810)
    """

    supports_low_resolution = True
    function = staticmethod(soft_dice_loss)
    options = ('average', 'over', 'power', 'smooth', 'eps', 'classes', 'sync')

    def __init__(
        self,
        average: str = 'macro',
        over: str = 'batch',
        power: float = 2,
        smooth: float = 0.0,
        eps: float = 0.0,
        classes: str = 'present',
        sync: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_soft_dice',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        check_over(average, over, classes)
        self.average, self.over, self.classes = average, over, classes
        self.power = positive('power', power)
        self.smooth = not_negative('smooth', smooth)
        self.eps = not_negative('eps', eps)
        self.sync = sync


@MODELS.register_module()
class SoftIoULoss(RegionLoss):
    r"""Multi-class soft IoU loss (Rahman & Wang 2016; Huang, section III.B).

    .. math:: 1 - \frac{\sum_c w_c J_c}{\sum_c w_c}, \qquad
              J_c = \frac{I_c + s}{P_c + T_c - I_c + s + \varepsilon}

    Convention: that of :mod:`mmseg_balance.functional.overlap`.

    Args:
        average, over, power, smooth, eps, classes, sync: as in :class:`SoftDiceLoss`.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> SoftIoULoss()(logits, torch.tensor([[[0, 1]]]))
        tensor(0.5500)
    """

    supports_low_resolution = True
    function = staticmethod(soft_iou_loss)
    options = ('average', 'over', 'power', 'smooth', 'eps', 'classes', 'sync')

    def __init__(
        self,
        average: str = 'macro',
        over: str = 'batch',
        power: float = 1,
        smooth: float = 0.0,
        eps: float = 0.0,
        classes: str = 'present',
        sync: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_soft_iou',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        check_over(average, over, classes)
        self.average, self.over, self.classes = average, over, classes
        self.power = positive('power', power)
        self.smooth = not_negative('smooth', smooth)
        self.eps = not_negative('eps', eps)
        self.sync = sync


@MODELS.register_module()
class SoftTverskyLoss(RegionLoss):
    r"""Multi-class Tversky loss; with ``gamma`` the focal Tversky loss.

    .. math:: \frac{\sum_c w_c (1 - V_c)^\gamma}{\sum_c w_c}, \qquad V_c = \frac{I_c + s}
              {I_c + \alpha (P_c - I_c) + \beta (T_c - I_c) + s + \varepsilon}

    Convention: that of :mod:`mmseg_balance.functional.overlap`.

    Args:
        alpha: weight of false positives.
        beta: weight of false negatives; above ``alpha`` it favours recall.
        gamma: exponent; above 1 it focuses on badly segmented classes.
        over, smooth, eps, classes, sync: as in :class:`SoftDiceLoss`.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> SoftTverskyLoss(alpha=1., beta=1.)(logits, torch.tensor([[[0, 1]]]))
        tensor(0.5500)

    Reference:
        Salehi et al. 2017; Abraham & Khan 2019.
    """

    supports_low_resolution = True
    function = staticmethod(soft_tversky_loss)
    options = ('alpha', 'beta', 'gamma', 'over', 'smooth', 'eps', 'classes', 'sync')

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 1.0,
        over: str = 'batch',
        smooth: float = 0.0,
        eps: float = 0.0,
        classes: str = 'present',
        sync: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_soft_tversky',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        self.alpha = not_negative('alpha', alpha)
        self.beta = not_negative('beta', beta)
        self.gamma = not_negative('gamma', gamma)
        check_over('macro', over, classes)
        self.over, self.classes = over, classes
        self.smooth = not_negative('smooth', smooth)
        self.eps = not_negative('eps', eps)
        self.sync = sync


@MODELS.register_module()
class GeneralizedDiceLoss(RegionLoss):
    r"""Dice loss with classes weighed by their inverse squared size (Sudre et al. 2017).

    .. math:: 1 - 2\,\frac{\sum_c v_c I_c + s}{\sum_c v_c (P_c + T_c) + s + \varepsilon},
              \qquad v_c = w_c / T_c^2

    Convention: that of :mod:`mmseg_balance.functional.overlap`; an absent class counts nothing.

    Args:
        over, smooth, eps, sync: as in :class:`SoftDiceLoss`.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.], [0., 1.0986123]]).T.reshape(1, 2, 1, 2)
        >>> GeneralizedDiceLoss()(logits, torch.tensor([[[0, 1]]]))
        tensor(0.3750)
    """

    supports_low_resolution = True
    function = staticmethod(generalized_dice_loss)
    options = ('over', 'smooth', 'eps', 'sync')

    def __init__(
        self,
        over: str = 'batch',
        smooth: float = 0.0,
        eps: float = 0.0,
        sync: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_generalized_dice',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        self.over = one_of('over', over, ('batch', 'image'))
        self.smooth = not_negative('smooth', smooth)
        self.eps = not_negative('eps', eps)
        self.sync = sync
