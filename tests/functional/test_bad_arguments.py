"""Arguments that no loss understands are named, never taken for something else."""

import pytest
import torch

from mmseg_balance.functional import (
    centerline_dice_loss,
    generalized_dice_loss,
    overlap_sums,
    region_size_loss,
    soft_dice_loss,
    soft_iou_loss,
    soft_tversky_loss,
    weighted_cross_entropy_loss,
)
from mmseg_balance.losses import SoftDiceLoss, SoftIoULoss

LOGITS, LABELS = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))


def centerline(logits, labels, **options):
    return centerline_dice_loss(logits, labels, [1], **options)


@pytest.mark.parametrize(
    ('loss', 'options'),
    [
        (soft_dice_loss, dict(average='mirco')),
        (soft_dice_loss, dict(over='imag')),
        (soft_dice_loss, dict(classes='presnt')),
        (soft_iou_loss, dict(over='imag')),
        (soft_tversky_loss, dict(over='imag')),
        (soft_tversky_loss, dict(classes='presnt')),
        (generalized_dice_loss, dict(over='image_class')),
        (region_size_loss, dict(over='image_class')),
        (region_size_loss, dict(classes='presnt')),
        (centerline, dict(over='imag')),
    ],
)
def test_a_misspelt_option_gave_a_plausible_number(loss, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"^{name}='{value}' must be"):
        loss(LOGITS, LABELS, **options)


@pytest.mark.parametrize(
    ('loss', 'options'),
    [
        (soft_dice_loss, {}),
        (soft_dice_loss, dict(average='micro')),
        (soft_dice_loss, dict(over='image_class')),
        (soft_iou_loss, dict(classes='all')),
        (soft_tversky_loss, {}),
        (generalized_dice_loss, {}),
        (region_size_loss, {}),
        (centerline, {}),
        (weighted_cross_entropy_loss, {}),
    ],
)
@pytest.mark.parametrize('length', [1, 4])
def test_class_weights_of_another_length_gave_a_plausible_number(loss, options, length):
    with pytest.raises(ValueError, match=f'class_weight has {length} entries for 3 classes'):
        loss(LOGITS, LABELS, class_weight=torch.full((length,), 2.0), **options)


def test_a_number_is_no_class_weights():
    with pytest.raises(ValueError, match='class_weight has 1 entries for 3 classes'):
        weighted_cross_entropy_loss(LOGITS, LABELS, class_weight=torch.tensor(2.0))


@pytest.mark.parametrize('loss', [soft_dice_loss, weighted_cross_entropy_loss])
def test_class_weights_in_a_list_are_refused_in_a_sentence(loss):
    with pytest.raises(TypeError, match=r'^class_weight=\[1\.0, 2\.0, 3\.0\] must be a tensor'):
        loss(LOGITS, LABELS, class_weight=[1.0, 2.0, 3.0])


@pytest.mark.parametrize('power', [0, -1, float('nan')])
def test_power_0_counted_ignored_pixels(power):
    """0 ** 0 is 1, so that the ignored pixels' probabilities of 0 were in the predicted size."""
    for call in (
        lambda: overlap_sums(LOGITS, LABELS, power=power),
        lambda: SoftDiceLoss(power=power),
        lambda: SoftIoULoss(power=power),
    ):
        with pytest.raises(ValueError, match='^power=.* must be above 0'):
            call()
