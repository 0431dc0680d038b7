"""Losses of kornia, MONAI and segmentation_models.pytorch, for the comparison with ours."""

from torch import Tensor, nn, where


class Called(nn.Module):
    """A peer's loss, called as ours are.

    Args:
        loss: takes ``(logits, labels)``.
        ignores: whether it knows ``ignore_index`` itself; else ignored pixels count as class 0,
            which is less work than leaving them out.
        channel: whether labels are ``(N, 1, H, W)``.
    """

    def __init__(self, loss: nn.Module, ignores: bool = False, channel: bool = False) -> None:
        super().__init__()
        self.loss, self.ignores, self.channel = loss, ignores, channel

    def forward(self, logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
        if not self.ignores:
            labels = where(labels == ignore_index, 0, labels)
        return self.loss(logits, labels.unsqueeze(1) if self.channel else labels)


def peer_losses() -> dict[str, nn.Module]:
    """Those of the packages that can be imported; of the others it is said why not."""
    built: dict[str, nn.Module] = {}
    for name, losses_of in (('kornia', _kornia), ('MONAI', _monai), ('SMP', _smp)):
        try:
            losses = losses_of()
        except ImportError as error:
            print(f'{name} is left out: {error}')
            continue
        built.update({f'{name} {loss}': module for loss, module in losses.items()})
    return built


def _kornia() -> dict[str, nn.Module]:
    from kornia.losses import DiceLoss, FocalLoss, TverskyLoss

    return {
        'DiceLoss': Called(DiceLoss(average='macro', ignore_index=255), True),
        'TverskyLoss': Called(TverskyLoss(0.5, 0.5, ignore_index=255), True),
        'FocalLoss': Called(FocalLoss(alpha=None, reduction='mean', ignore_index=255), True),
    }


def _monai() -> dict[str, nn.Module]:
    from monai.losses import DiceCELoss, DiceLoss, FocalLoss, GeneralizedDiceLoss

    options = dict(softmax=True, to_onehot_y=True)
    return {
        'DiceLoss': Called(DiceLoss(**options), channel=True),
        'DiceCELoss': Called(DiceCELoss(**options), channel=True),
        'GeneralizedDiceLoss': Called(GeneralizedDiceLoss(**options), channel=True),
        'FocalLoss': Called(FocalLoss(use_softmax=True, to_onehot_y=True), channel=True),
    }


def _smp() -> dict[str, nn.Module]:
    from segmentation_models_pytorch import losses

    ignoring = ('DiceLoss', 'TverskyLoss', 'LovaszLoss', 'FocalLoss')
    built = {
        name: Called(getattr(losses, name)('multiclass', ignore_index=255), True)
        for name in ignoring
    }
    return {**built, 'JaccardLoss': Called(losses.JaccardLoss('multiclass'))}
