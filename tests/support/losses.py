"""The losses under test: a row each, with the oracle that knows their value."""

from typing import Any, NamedTuple

import numpy as np
import torch
from mmseg.registry import MODELS

from mmseg_balance.functional.backend import is_compiling
from mmseg_balance.statistics import ClassStatistics
from tests.support import references
from tests.support import references_new_losses as new

CLASSES = 5
PIXELS = (500, 300, 150, 40, 10)
WEIGHTS = [0.5, 1.0, 2.0, 0.25, 3.0]


def statistics(pixels=PIXELS) -> ClassStatistics:
    return ClassStatistics.from_rows([f'class {i}' for i in range(len(pixels))], [list(pixels)])


class Case(NamedTuple):
    name: str
    config: dict[str, Any]
    oracle: Any
    options: dict[str, Any] = {}
    per_pixel: bool = True

    def build(self, pixels=PIXELS, **more):
        config = dict(self.config, **more)
        if 'statistics' in config:
            config['statistics'] = statistics(pixels)
        loss = MODELS.build(config)
        if config['type'] == 'BalancedVariationLoss':
            loss.register_forward_pre_hook(_same_noise)
        return loss

    def build_smooth(self):
        """Without what is held constant for the gradient, which finite differences would see."""
        return self.build(**({'q': 0.0} if self.config['type'] == 'SoftmaxSeesawLoss' else {}))

    def reference(self, logits, labels, pixels=PIXELS, **more):
        options = dict(self.options, **more)
        if 'statistics' in self.config:
            options['pixels'] = pixels
        return self.oracle(logits.detach().numpy(), labels.numpy(), **options)


def _same_noise(module, args) -> None:
    """Each call draws the noise that the oracle knows; the compiler knows no seeds."""
    if not is_compiling():
        torch.manual_seed(new.NOISE_SEED)


def _case(config, oracle, per_pixel=True):
    """The oracle takes the config's own arguments, and pixel counts in place of statistics."""
    options = {k: v for k, v in config.items() if k not in ('type', 'statistics')}
    label = ','.join(f'{k}={v}' for k, v in options.items())
    return Case(f'{config["type"]}({label})', config, oracle, options, per_pixel)


def _region(oracle, **config):
    return _case(config, oracle, per_pixel=False)


# Adding a loss means adding a row.
CASES = [
    _case(dict(type='WeightedCrossEntropyLoss'), references.weighted_cross_entropy),
    _case(
        dict(type='WeightedCrossEntropyLoss', label_smoothing=0.1),
        references.weighted_cross_entropy,
    ),
    _case(dict(type='SoftmaxFocalLoss'), references.softmax_focal),
    _case(dict(type='SoftmaxFocalLoss', gamma=0.5), references.softmax_focal),
    _case(dict(type='OHEMCrossEntropyLoss'), references.ohem_cross_entropy),
    _case(dict(type='OHEMCrossEntropyLoss', keep_ratio=0.13), references.ohem_cross_entropy),
    _case(dict(type='RecallLoss'), references.recall),
    _case(dict(type='LMPLoss'), references.lmp),
    _case(dict(type='LMPLoss', p=1.7, ratio=0.5, pool='batch'), references.lmp),
    _case(dict(type='LDAMLoss', statistics='given', scale=2.0), references.ldam),
    _case(dict(type='LogitAdjustedLoss', statistics='given', tau=0.7), references.logit_adjusted),
    _case(dict(type='BalancedVariationLoss', statistics='given'), new.balanced_variation),
    _case(
        dict(type='BalancedVariationLoss', statistics='given', sigma=0.5, bound=2.0),
        new.balanced_variation,
    ),
    _case(dict(type='SoftmaxSeesawLoss', statistics='given'), new.softmax_seesaw),
    _case(dict(type='SoftmaxSeesawLoss', statistics='given', p=1.2, q=0.5), new.softmax_seesaw),
    _region(references.soft_dice, type='SoftDiceLoss'),
    _region(references.soft_dice, type='SoftDiceLoss', over='image', classes='all', smooth=0.5),
    _region(references.soft_dice, type='SoftDiceLoss', average='micro', smooth=1.0, eps=1e-5),
    _region(new.soft_dice_by_class, type='SoftDiceLoss', over='image_class', smooth=0.5),
    _region(references.soft_iou, type='SoftIoULoss'),
    _region(new.soft_iou_by_class, type='SoftIoULoss', over='image_class'),
    _region(references.soft_iou, type='SoftIoULoss', average='micro', over='image'),
    _region(references.soft_tversky, type='SoftTverskyLoss'),
    _region(references.soft_tversky, type='SoftTverskyLoss', gamma=0.75, over='image'),
    _region(new.soft_tversky_by_class, type='SoftTverskyLoss', over='image_class', classes='all'),
    _region(references.generalized_dice, type='GeneralizedDiceLoss'),
    _region(references.lovasz_softmax, type='LovaszSoftmaxLoss'),
    _region(references.lovasz_softmax, type='LovaszSoftmaxLoss', over='image', classes='all'),
    _region(new.region_size, type='RegionSizeLoss'),
    _region(new.region_size, type='RegionSizeLoss', over='batch', classes='present'),
    _region(new.centerline_dice, type='CenterlineDiceLoss', thin_classes=[1]),
    _region(
        new.centerline_dice,
        type='CenterlineDiceLoss',
        thin_classes=[1, 0],
        iterations=2,
        over='image',
        smooth=0.1,
    ),
]
PIXEL_CASES = [case for case in CASES if case.per_pixel]
REGION_CASES = [case for case in CASES if not case.per_pixel]


def batch(classes=CLASSES, dtype=torch.float64, seed=0, size=(3, 7, 9)):
    """Logits and labels with an absent class, some ignored pixels and an image all ignored."""
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(scale=2, size=(size[0], classes, *size[1:])))
    present = max(classes - 1, 2) if classes > 1 else 2
    labels = torch.tensor(rng.integers(0, present, size))
    labels[torch.tensor(rng.random(size) < 0.1)] = 255
    labels[-1] = 255
    return logits.to(dtype).requires_grad_(), labels
