"""What BLV, Seesaw, region size, centre-line Dice and means by class do beyond the contract."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import ExponentialMovingAverage
from mmseg.registry import MODELS
from scipy.stats import halfnorm

from mmseg_balance.functional.blv import class_variation, logit_noise
from mmseg_balance.functional.centerline import soft_skeleton
from mmseg_balance.functional.logits import UpsampledLogits
from mmseg_balance.functional.seesaw import softmax_seesaw_loss
from tests.support import references_new_losses as references
from tests.support.losses import CASES, CLASSES, PIXELS, batch, statistics

NAN_CASES = [case for case in CASES if case.config['type'] in ('CenterlineDiceLoss',)]


def build(**config):
    if config.get('statistics') == 'given':
        config['statistics'] = statistics()
    return MODELS.build(config)


class TestBalancedVariation:
    def test_noise_has_the_distribution_of_the_paper(self):
        noise = logit_noise((1 << 18,), torch.device('cpu')).double().numpy()
        normal = halfnorm(scale=4)
        assert (noise == 1).mean() == pytest.approx(normal.sf(1), abs=0.005)
        for level in (0.2, 0.5, 0.9):
            assert (noise < level).mean() == pytest.approx(normal.cdf(level), abs=0.005)
        mean = normal.expect(lambda x: x, ub=1) + normal.sf(1)
        assert noise.mean() == pytest.approx(mean, abs=0.002)

    def test_neighbours_and_classes_draw_apart(self):
        noise = logit_noise((4, 100, 100), torch.device('cpu'), sigma=1.0, bound=10.0).double()
        rows = noise.view(4, -1)
        assert torch.corrcoef(rows).fill_diagonal_(0).abs().max() < 0.04
        shifted = torch.corrcoef(torch.stack([rows[0, :-1], rows[0, 1:]]))
        assert shifted[0, 1].abs() < 0.04

    def test_the_seed_decides_and_evaluation_draws_nothing(self):
        logits, labels = batch()
        loss = build(type='BalancedVariationLoss', statistics='given')
        torch.manual_seed(3)
        first, second = loss(logits, labels), loss(logits, labels)
        torch.manual_seed(3)
        assert loss(logits, labels) == first != second
        state = torch.get_rng_state()
        plain = build(type='WeightedCrossEntropyLoss')(logits, labels)
        assert loss.eval()(logits, labels) == plain
        assert torch.equal(torch.get_rng_state(), state)

    def test_most_frequent_class_keeps_its_logits(self):
        variation = class_variation(torch.tensor(PIXELS, dtype=torch.float64))
        expected = np.log(max(PIXELS) / np.array(PIXELS)) / np.log(max(PIXELS) / min(PIXELS))
        np.testing.assert_allclose(variation, expected, rtol=1e-12)
        assert not class_variation(torch.tensor([7, 7, 7])).any()


class TestSeesaw:
    def test_without_factors_it_is_cross_entropy(self):
        logits, labels = batch()
        loss = build(type='SoftmaxSeesawLoss', statistics='given', p=0.0, q=0.0)
        torch.testing.assert_close(
            loss(logits, labels), build(type='WeightedCrossEntropyLoss')(logits, labels)
        )

    @pytest.mark.parametrize(('p', 'q'), [(0.8, 2.0), (0.0, 1.0), (1.5, 0.3)])
    def test_gradient_holds_the_factors_constant(self, p, q):
        logits, labels = batch()
        pixels = torch.tensor(PIXELS, dtype=torch.float64)
        found = torch.autograd.grad(
            softmax_seesaw_loss(logits, labels, pixels, p=p, q=q).sum(), logits
        )[0]
        valid = labels != 255
        rows = logits.detach().movedim(1, -1)[valid].requires_grad_()
        truth = labels[valid]
        probs = rows.softmax(1).detach()
        own = probs.gather(1, truth[:, None])
        factors = (pixels / pixels[truth][:, None]).clamp(max=1) ** p
        factors = factors * (probs / own).clamp(min=1) ** q
        below = (factors * rows.exp()).sum(1)
        loss = (below.log() - rows.gather(1, truth[:, None])[:, 0]).sum()
        expected = torch.autograd.grad(loss, rows)[0]
        torch.testing.assert_close(found.movedim(1, -1)[valid], expected)

    def test_counts_what_it_has_seen_in_training_only(self):
        logits, labels = batch()
        loss = build(type='SoftmaxSeesawLoss', num_classes=CLASSES)
        once = loss(logits, labels).item()
        seen = torch.bincount(labels[labels != 255], minlength=CLASSES)
        assert torch.equal(loss.seen_pixels, seen)
        expected = references.softmax_seesaw(
            logits.detach().numpy(), labels.numpy(), np.maximum(seen.numpy(), 1)
        )
        assert once == pytest.approx(expected, rel=1e-9)
        loss.eval()(logits, labels)
        loss.train()(logits, torch.full_like(labels, 255))
        assert torch.equal(loss.seen_pixels, seen)
        loss(logits, labels)
        assert torch.equal(loss.seen_pixels, 2 * seen)

    def test_resumes_with_its_counts(self):
        logits, labels = batch()
        loss, fresh = (build(type='SoftmaxSeesawLoss', num_classes=CLASSES) for _ in range(2))
        loss(logits, labels)
        fresh.load_state_dict(loss.state_dict())
        assert fresh(logits, labels) == loss(logits, labels)
        assert not build(type='SoftmaxSeesawLoss', statistics='given').state_dict()

    @pytest.mark.parametrize('update_buffers', [False, True])
    def test_a_moving_average_of_the_model_follows_the_counts(self, update_buffers):
        """EMAHook pairs the buffers of model and copy: their number and length must not change."""
        logits, labels = batch()
        model = torch.nn.Sequential(build(type='SoftmaxSeesawLoss', num_classes=CLASSES))
        average = ExponentialMovingAverage(
            copy.deepcopy(model), momentum=0.5, update_buffers=update_buffers
        )
        for _ in range(3):
            model[0](logits, labels)
            average.update_parameters(model)
        counts = average.module[0].seen_pixels
        assert counts.dtype == torch.int64
        if not update_buffers:
            assert torch.equal(counts, model[0].seen_pixels)

    def test_counts_of_a_model_in_half_precision_stay_exact(self):
        """As a float buffer they became float16, infinite beyond 65504 pixels."""
        loss = build(type='SoftmaxSeesawLoss', num_classes=2).half()
        labels = torch.zeros(1, 300, 300, dtype=torch.int64)
        found = loss(torch.zeros(1, 2, 300, 300, dtype=torch.float16), labels)
        assert loss.seen_pixels.tolist() == [90000, 0]
        assert torch.isfinite(found)

    def test_counts_of_earlier_checkpoints_load(self):
        fresh = build(type='SoftmaxSeesawLoss', num_classes=2)
        fresh.load_state_dict({'seen_pixels': torch.tensor([9e9, 3.0], dtype=torch.float64)})
        assert fresh.seen_pixels.tolist() == [9_000_000_000, 3]

    def test_labels_out_of_range_are_named_before_they_are_counted(self):
        logits, labels = batch()
        labels[0, 0, 0] = CLASSES
        loss = build(type='SoftmaxSeesawLoss', num_classes=CLASSES)
        with pytest.raises(ValueError, match=f'labels: label {CLASSES} '):
            loss(logits, labels)
        assert not loss.seen_pixels.any()

    def test_a_label_out_of_range_does_not_spoil_the_counts(self):
        """Where none looks at the labels, on a GPU or compiled, the counts were about -2^63."""
        logits, labels = batch(dtype=torch.float32)
        labels[0, 0, 0] = CLASSES
        loss = build(type='SoftmaxSeesawLoss', num_classes=CLASSES)
        torch._dynamo.reset()
        assert torch.compile(loss, backend='eager')(logits, labels).isnan()
        seen = torch.bincount(labels[1][labels[1] != 255], minlength=CLASSES)
        assert torch.equal(loss.seen_pixels, seen)  # the image with the bad label is left out


class TestRegionSize:
    def test_right_sizes_in_wrong_places_cost_nothing(self):
        labels = torch.tensor([[[0, 0, 1, 2]]])
        wrong = F.one_hot(labels.flip(2), 3).movedim(-1, 1) * 40.0
        assert build(type='RegionSizeLoss')(wrong, labels) < 1e-12

    def test_an_absent_class_costs_what_is_predicted_of_it(self):
        labels = torch.zeros(1, 2, 2, dtype=torch.long)
        logits = torch.tensor([0.0, 0.0, -40.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
        assert build(type='RegionSizeLoss')(logits, labels).item() == pytest.approx(1 / 3)
        present = build(type='RegionSizeLoss', classes='present')
        assert present(logits, labels).item() == pytest.approx(1 / 2)


class TestCenterlineDice:
    @pytest.mark.parametrize('iterations', [1, 3])
    def test_soft_skeleton(self, iterations):
        values = torch.rand(1, 2, 9, 11, dtype=torch.float64)
        valid = torch.rand(1, 1, 9, 11) > 0.15
        found = soft_skeleton(values, iterations, valid)
        for k in range(2):
            expected = references.soft_skeleton(
                values[0, k].numpy(), valid[0, 0].numpy(), iterations
            )
            np.testing.assert_allclose(
                found[0, k][valid[0, 0]], expected[valid[0, 0]], rtol=1e-12, atol=1e-15
            )

    def test_a_gap_costs_more_than_a_thinner_line(self):
        """Of as many missing pixels, those that break the line count more than those of its rim."""
        labels = torch.zeros(1, 9, 36, dtype=torch.long)
        labels[:, 3:6] = 1
        thinner, broken = labels.clone(), labels.clone()
        thinner[:, 3] = 0
        broken[:, :, 12:24] = 0
        loss = build(type='CenterlineDiceLoss', thin_classes=[1], smooth=0.0)
        dice = build(type='SoftDiceLoss')
        values = {}
        for name, shape in (('thinner', thinner), ('broken', broken)):
            logits = 40.0 * F.one_hot(shape, 2).movedim(-1, 1)
            values[name] = loss(logits, labels).item(), dice(logits, labels).item()
        assert values['thinner'][1] == pytest.approx(values['broken'][1], rel=1e-5)
        assert values['thinner'][0] < 0.01
        assert values['broken'][0] > 0.15

    def test_classes_that_are_not_chosen_cost_nothing_when_alone(self):
        logits, labels = batch()
        loss = build(type='CenterlineDiceLoss', thin_classes=[CLASSES - 1])  # the absent class
        value = loss(logits, labels)
        assert value == 0
        assert (torch.autograd.grad(value, logits)[0] == 0).all()

    @pytest.mark.parametrize('number', [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize('case', NAN_CASES, ids=lambda case: case.name)
    def test_numbers_that_are_none_at_ignored_pixels(self, case, number):
        logits, labels = batch(dtype=torch.float32)
        bad = torch.where((labels == 255).unsqueeze(1), number, logits).detach().requires_grad_()
        value, expected = case.build()(bad, labels), case.build()(logits, labels)
        assert value == expected
        torch.testing.assert_close(
            torch.autograd.grad(value, bad), torch.autograd.grad(expected, logits)
        )


def test_by_class_over_images_no_image_outvotes_another():
    """A class is as important in the image where it is small as in that where it is large."""
    labels = torch.zeros(2, 4, 8, dtype=torch.long)
    labels[0, :, 4:], labels[1, 0, 0] = 1, 1
    pred = labels.clone()
    pred[1, 0, 0] = 0  # missed where it is a pixel
    logits = 60.0 * F.one_hot(pred, 2).movedim(-1, 1)
    pooled = build(type='SoftIoULoss')(logits, labels)
    by_class = build(type='SoftIoULoss', over='image_class')(logits, labels)
    assert pooled < 0.05
    assert by_class.item() == pytest.approx((1 / 2 * (0 + 1) + 1 / 2 * (0 + 1 / 32)) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='BalancedVariationLoss', statistics='x', sigma=0), 'sigma=0 and bound=1.0'),
        (dict(type='SoftmaxSeesawLoss'), 'statistics=None and num_classes=None: give one'),
        (dict(type='SoftmaxSeesawLoss', statistics='x', num_classes=3), 'give one of them'),
        (dict(type='SoftmaxSeesawLoss', num_classes=3, q=-1), 'q=-1 must not be negative'),
        (dict(type='RegionSizeLoss', over='image_class'), "over='image_class' must be"),
        (dict(type='CenterlineDiceLoss', thin_classes=[1], iterations=0), 'iterations=0 must be'),
        (dict(type='CenterlineDiceLoss', thin_classes=[]), r'thin_classes=\[\] must be'),
        (dict(type='CenterlineDiceLoss', thin_classes=[-1]), r'thin_classes=\[-1\] must be'),
        (dict(type='SoftDiceLoss', average='micro', over='image_class'), "choose average='macro'"),
        (dict(type='GeneralizedDiceLoss', over='image_class'), "over='image_class' must be"),
    ],
)
def test_bad_arguments_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_a_thin_class_that_the_head_lacks():
    logits, labels = batch()
    loss = build(type='CenterlineDiceLoss', thin_classes=[CLASSES])
    with pytest.raises(ValueError, match=rf'thin_classes=\[{CLASSES}\] must be .* 0 to 4'):
        loss(logits, labels)


def test_seesaw_of_another_number_of_classes():
    logits, labels = batch()
    with pytest.raises(ValueError, match='num_classes=3 of SoftmaxSeesawLoss .* 5 classes'):
        build(type='SoftmaxSeesawLoss', num_classes=3)(logits, labels)


@pytest.mark.parametrize(
    'config',
    [
        dict(type='BalancedVariationLoss', statistics='given'),
        dict(type='SoftmaxSeesawLoss', statistics='given'),
        dict(type='CenterlineDiceLoss', thin_classes=[1]),
        dict(type='LDAMLoss', statistics='given'),
        dict(type='LovaszSoftmaxLoss'),
        dict(type='WeightedCrossEntropyLoss', label_smoothing=0.1),
    ],
    ids=lambda config: config['type'],
)
def test_logits_of_low_resolution_are_refused_in_a_sentence(config):
    low = UpsampledLogits(torch.randn(1, CLASSES, 2, 2), (4, 4), False)
    with pytest.raises(ValueError, match="must take logits of the labels' size"):
        build(**config)(low, torch.zeros(1, 4, 4, dtype=torch.long))
