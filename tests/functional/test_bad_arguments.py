"""Arguments that no loss understands are named, never taken for something else."""

from functools import partial

import numpy as np
import pytest
import torch

from mmseg_balance.functional import (
    blv_loss,
    boundary_sums,
    calibration_sums,
    centerline_dice_loss,
    confusion_matrix,
    focal_modulation,
    generalized_dice_loss,
    ldam_loss,
    logit_adjusted_loss,
    lovasz_softmax_loss,
    overlap_sums,
    rare_class_probabilities,
    recall_loss,
    reduce_pixel_losses,
    region_size_loss,
    soft_dice_loss,
    soft_iou_loss,
    soft_tversky_loss,
    softmax_focal_loss,
    softmax_seesaw_loss,
    temperature_nll,
    weighted_cross_entropy_loss,
)
from mmseg_balance.losses import LMPLoss, SoftDiceLoss, SoftIoULoss, WeightedCrossEntropyLoss

LOGITS, LABELS = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))


def centerline(logits, labels, **options):
    return centerline_dice_loss(logits, labels, [1], **options)


def value_and_gradient(loss, logits):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, LABELS)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


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


@pytest.mark.parametrize(
    ('loss', 'name'),
    [
        (ldam_loss, 'margins'),
        (logit_adjusted_loss, 'priors'),
        (blv_loss, 'variation'),
        (softmax_seesaw_loss, 'pixels'),
        (recall_loss, 'running_recall'),
    ],
)
@pytest.mark.parametrize('length', [1, 4])
def test_a_table_of_another_length_gave_a_plausible_number(loss, name, length):
    """One prior for all classes was plain cross entropy, one size NaN."""
    with pytest.raises(ValueError, match=f'^{name} has {length} entries for 3 classes'):
        loss(LOGITS, LABELS, **{name: torch.full((length,), 0.5)})


@pytest.mark.parametrize(
    ('function', 'options'),
    [
        (softmax_focal_loss, dict(gamma=-1)),
        (weighted_cross_entropy_loss, dict(label_smoothing=2)),
        (centerline, dict(iterations=-1)),
        (
            lambda *_, **options: rare_class_probabilities([0.9, 0.1], **options),
            dict(temperature=0),
        ),
    ],
)
def test_a_number_out_of_range_gave_a_plausible_one(function, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f'^{name}={value} must'):
        function(LOGITS, LABELS, **options)


def test_a_number_is_no_class_weights():
    with pytest.raises(ValueError, match='class_weight has 1 entries for 3 classes'):
        weighted_cross_entropy_loss(LOGITS, LABELS, class_weight=torch.tensor(2.0))


@pytest.mark.parametrize('loss', [soft_dice_loss, weighted_cross_entropy_loss])
def test_class_weights_in_a_list_are_refused_in_a_sentence(loss):
    with pytest.raises(TypeError, match=r'^class_weight=\[1\.0, 2\.0, 3\.0\] must be a tensor'):
        loss(LOGITS, LABELS, class_weight=[1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    'loss',
    [
        soft_dice_loss,
        partial(soft_dice_loss, average='micro'),
        generalized_dice_loss,
        region_size_loss,
        lovasz_softmax_loss,
        centerline,
        weighted_cross_entropy_loss,
        partial(weighted_cross_entropy_loss, label_smoothing=0.1),
    ],
)
@pytest.mark.parametrize('logits', [torch.float32, torch.float64])
@pytest.mark.parametrize('weights', [torch.float32, torch.float64, torch.int64])
def test_the_dtype_of_class_weights_is_not_that_of_the_loss(loss, logits, weights):
    """The rules for class weights return float64, and the loss was float64, too."""
    value = loss(LOGITS.to(logits), LABELS, class_weight=torch.tensor([3, 7, 11]).to(weights))
    expected = loss(LOGITS.to(logits), LABELS, class_weight=torch.tensor([3, 7, 11]).to(logits))
    assert value.dtype == logits
    assert torch.equal(value, expected)


@pytest.mark.parametrize(
    'loss',
    [
        soft_dice_loss,
        soft_iou_loss,
        soft_tversky_loss,
        generalized_dice_loss,
        region_size_loss,
        centerline,
        lambda logits, labels, weight: reduce_pixel_losses(
            weighted_cross_entropy_loss(logits, labels), labels, weight=weight
        ),
    ],
)
@pytest.mark.parametrize('logits', [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('weights', [torch.float64, torch.bool])
def test_the_dtype_of_pixel_weights_is_not_that_of_the_loss(loss, logits, weights):
    """float64 beside float32 logits ended the backward pass, and beside bfloat16 gave float64."""
    given = (torch.rand(LABELS.shape, dtype=torch.float64) - 0.2).clamp(min=0).to(weights)
    wide = torch.float64 if logits == torch.float64 else torch.float32
    found, expected = (
        value_and_gradient(partial(loss, weight=weight), LOGITS.to(logits))
        for weight in (given, given.to(wide))
    )
    assert found[0].dtype == wide
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_a_sum_has_no_avg_factor():
    """It was dropped; MMSegmentation's losses refuse it, too."""
    losses = torch.ones(LABELS.shape)
    for loss in (WeightedCrossEntropyLoss(), LMPLoss()):
        with pytest.raises(ValueError, match="^avg_factor=7 divides a mean and reduction='sum'"):
            loss(LOGITS, LABELS, avg_factor=7, reduction_override='sum')
    assert torch.equal(reduce_pixel_losses(losses, LABELS, avg_factor=7, reduction='none'), losses)


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


@pytest.mark.parametrize(
    'call',
    [
        weighted_cross_entropy_loss,
        soft_dice_loss,
        lovasz_softmax_loss,
        recall_loss,
        centerline,
        calibration_sums,
        lambda logits, labels: temperature_nll(logits, labels, np.ones(1)),
        lambda logits, labels: confusion_matrix(logits.argmax(1), labels, 3),
        lambda logits, labels: boundary_sums(logits[0].argmax(0), labels[0], 3),
    ],
)
def test_a_mask_read_as_floats_was_all_class_0(call):
    """1 / 255 was cut off to 0, so that nothing but background was to be found."""
    with pytest.raises(TypeError, match='^labels are torch.float32; they must be integers'):
        call(LOGITS, LABELS / 255)


def test_probabilities_for_predictions_were_all_class_0():
    with pytest.raises(TypeError, match='^pred are torch.float32; they must be integers'):
        confusion_matrix(LOGITS.softmax(1)[:, 1], LABELS, 3)


def test_focal_modulation_of_half_precision():
    nll = torch.tensor([0.0, 0.5, 3.0])
    expected = focal_modulation(nll, 2.0)
    torch.testing.assert_close(focal_modulation(nll.half(), 2.0), expected, rtol=1e-3, atol=0)
