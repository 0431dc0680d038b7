"""Lovász-softmax."""

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_balance.functional.arguments import one_of
from mmseg_balance.functional.lovasz import lovasz_softmax_loss
from mmseg_balance.losses.base import RegionLoss


@MODELS.register_module()
class LovaszSoftmaxLoss(RegionLoss):
    r"""Lovász extension of the Jaccard loss at the softmax errors (Berman et al. 2018).

    .. math:: \frac{\sum_c w_c \overline{\Delta_{J_c}}(m_c)}{\sum_c w_c}, \qquad
              m_{xc} = |g_{xc} - p_{xc}|

    Convention: that of :func:`~mmseg_balance.functional.lovasz.lovasz_softmax_loss`. With
    ``classes='all'`` an absent class costs its largest probability, as Berman's code has it.

    Args:
        over: ``'batch'`` sorts the pixels of all images together, ``'image'`` each image's.
        classes: ``'present'`` or ``'all'``.
        loss_weight, loss_name, class_weight: as in all losses.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2., 0.], [0., 1.]]).view(1, 2, 1, 2)
        >>> LovaszSoftmaxLoss()(logits, torch.tensor([[[0, 1]]]))
        tensor(0.2315)
    """

    def __init__(
        self,
        over: str = 'batch',
        classes: str = 'present',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_lovasz_softmax',
        class_weight=None,
        **leftovers,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, **leftovers)
        self.over = one_of('over', over, ('batch', 'image'))
        self.classes = one_of('classes', classes, ('present', 'all'))

    def region_loss(self, logits, labels, ignore_index, weight, class_weight) -> Tensor:
        if weight is not None:
            raise ValueError(
                'LovaszSoftmaxLoss ranks pixels and knows no weights of them: remove '
                'the pixel sampler, or take SoftIoULoss.'
            )
        return lovasz_softmax_loss(
            logits,
            labels,
            ignore_index=ignore_index,
            over=self.over,
            classes=self.classes,
            class_weight=class_weight,
        )
