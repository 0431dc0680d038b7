"""The mathematics, on torch and NumPy alone: ``from mmseg_balance.functional import soft_dice_loss``.

Every function says its formula and its conventions. This package imports no framework, reads no
file and changes nothing outside of itself.
"""

from mmseg_balance.functional.blv import blv_loss
from mmseg_balance.functional.boundary import (
    boundary_iou,
    boundary_sums,
    centerline_counts,
    centerline_dice,
)
from mmseg_balance.functional.calibration import (
    calibration_score,
    calibration_scores,
    expected_calibration_error,
    harmonic_mean,
)
from mmseg_balance.functional.centerline import centerline_dice_loss, soft_skeleton
from mmseg_balance.functional.class_weights import (
    class_priors,
    effective_number,
    enet,
    inverse_frequency,
    median_frequency,
)
from mmseg_balance.functional.confidence_bins import CalibrationSums, calibration_sums
from mmseg_balance.functional.confusion import (
    confusion_matrix,
    confusion_scores,
    frequency_groups,
    group_means,
)
from mmseg_balance.functional.labels import (
    check_label_range,
    count_valid,
    label_lookup,
    sum_by_label,
)
from mmseg_balance.functional.logits import PairedLogits, UpsampledLogits, as_multiclass
from mmseg_balance.functional.lovasz import lovasz_softmax_loss
from mmseg_balance.functional.max_pooling import max_pool_weights
from mmseg_balance.functional.overlap import (
    generalized_dice_loss,
    soft_dice_loss,
    soft_iou_loss,
    soft_tversky_loss,
)
from mmseg_balance.functional.per_image import image_iou, per_image_scores
from mmseg_balance.functional.pixel import (
    focal_modulation,
    reduce_pixel_losses,
    softmax_focal_loss,
    weighted_cross_entropy_loss,
)
from mmseg_balance.functional.primitives import overlap_sums, pixel_nll, pixel_nll_and_overlap_sums
from mmseg_balance.functional.priors import ldam_loss, ldam_margins, logit_adjusted_loss
from mmseg_balance.functional.recall import recall_loss
from mmseg_balance.functional.region_size import region_size_loss
from mmseg_balance.functional.repeat_factors import repeat_factors
from mmseg_balance.functional.sampling import performance_probabilities, rare_class_probabilities
from mmseg_balance.functional.schedules import build_schedule, build_schedules
from mmseg_balance.functional.seesaw import softmax_seesaw_loss
from mmseg_balance.functional.temperature import TemperatureFit, fit_temperature, temperature_nll

__all__ = [
    'CalibrationSums',
    'PairedLogits',
    'TemperatureFit',
    'UpsampledLogits',
    'as_multiclass',
    'blv_loss',
    'boundary_iou',
    'boundary_sums',
    'build_schedule',
    'build_schedules',
    'calibration_score',
    'calibration_scores',
    'calibration_sums',
    'centerline_counts',
    'centerline_dice',
    'centerline_dice_loss',
    'check_label_range',
    'class_priors',
    'confusion_matrix',
    'confusion_scores',
    'count_valid',
    'effective_number',
    'enet',
    'expected_calibration_error',
    'fit_temperature',
    'focal_modulation',
    'frequency_groups',
    'generalized_dice_loss',
    'group_means',
    'harmonic_mean',
    'image_iou',
    'inverse_frequency',
    'label_lookup',
    'ldam_loss',
    'ldam_margins',
    'logit_adjusted_loss',
    'lovasz_softmax_loss',
    'max_pool_weights',
    'median_frequency',
    'overlap_sums',
    'per_image_scores',
    'performance_probabilities',
    'pixel_nll',
    'pixel_nll_and_overlap_sums',
    'rare_class_probabilities',
    'recall_loss',
    'reduce_pixel_losses',
    'region_size_loss',
    'repeat_factors',
    'soft_dice_loss',
    'soft_iou_loss',
    'soft_skeleton',
    'soft_tversky_loss',
    'softmax_focal_loss',
    'softmax_seesaw_loss',
    'sum_by_label',
    'temperature_nll',
    'weighted_cross_entropy_loss',
]
