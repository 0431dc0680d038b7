"""The contract of a loss, every property for every loss."""

import copy
import pickle

import pytest
import torch
from mmseg.registry import MODELS
from torch.autograd import gradcheck

from tests.support.losses import CASES, CLASSES, PIXEL_CASES, REGION_CASES, WEIGHTS, batch

each_loss = pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
each_pixel_loss = pytest.mark.parametrize('case', PIXEL_CASES, ids=lambda case: case.name)
each_region_loss = pytest.mark.parametrize('case', REGION_CASES, ids=lambda case: case.name)


def value_and_gradient(loss, logits, labels, **kwargs):
    logits = logits.detach().requires_grad_()
    value = loss(logits, labels, **kwargs)
    return value, torch.autograd.grad(value, logits)[0]


@each_loss
def test_value(case):
    logits, labels = batch()
    assert case.build()(logits, labels).item() == pytest.approx(
        case.reference(logits, labels), rel=1e-9
    )


@each_loss
def test_value_with_class_weights(case):
    logits, labels = batch(seed=1)
    loss = case.build(class_weight=WEIGHTS)
    assert loss(logits, labels).item() == pytest.approx(
        case.reference(logits, labels, class_weight=WEIGHTS), rel=1e-9
    )


@each_loss
def test_one_channel_is_two_classes_by_sigmoid(case):
    logits, labels = batch(classes=1)
    value, grad = value_and_gradient(case.build(pixels=(9, 1)), logits, labels)
    expected = case.reference(logits, labels, pixels=(9, 1))
    assert value.item() == pytest.approx(expected, rel=1e-9)
    assert grad.shape == logits.shape
    assert grad.abs().sum() > 0


@each_loss
def test_points_without_places_are_an_image_of_one_column(case):
    """PointHead of MMSegmentation has ``(N, C, P)`` logits: every loss refused them."""
    logits, labels = batch()
    points = logits.flatten(2), labels.flatten(1)
    if case.config['type'] == 'CenterlineDiceLoss':
        with pytest.raises(ValueError, match=r'neighbours of a pixel, and logits .* PointHead'):
            case.build()(*points)
        return
    value, grad = value_and_gradient(case.build(), *points)
    assert value.item() == pytest.approx(case.reference(logits, labels), rel=1e-9)
    assert grad.shape == points[0].shape
    if case.per_pixel:
        losses = case.build()(
            *points, weight=torch.ones(points[1].shape), reduction_override='none'
        )
        assert losses.shape == points[1].shape


@each_loss
def test_gradient(case):
    logits, labels = batch(size=(2, 3, 4))
    labels[0, 0, : CLASSES - 1] = torch.arange(CLASSES - 1)  # a batch of few pixels, none constant
    assert gradcheck(lambda z: case.build_smooth()(z, labels), logits, eps=1e-7, atol=1e-5)


@each_loss
def test_not_the_last_operation(case):
    logits, labels = batch()
    loss = case.build()
    _, grad = value_and_gradient(loss, logits, labels)
    scaled = torch.autograd.grad(3 * loss(2 * logits, labels) ** 2, logits)[0]
    value, inner = value_and_gradient(loss, 2 * logits, labels)
    torch.testing.assert_close(scaled, 3 * 2 * value * 2 * inner)
    assert grad.shape == logits.shape


@each_loss
@pytest.mark.parametrize('shift', [0, 100])  # moderate logits, and logits too large for exp()
def test_ignored_pixels_change_nothing(case, shift):
    logits, labels = batch()
    logits = (logits + shift).detach().requires_grad_()
    value, grad = value_and_gradient(case.build(), logits, labels)
    changed = torch.where((labels == 255).unsqueeze(1), 1e4 * torch.randn_like(logits), logits)
    other, _ = value_and_gradient(case.build(), changed, labels)
    assert (grad.movedim(1, -1)[labels == 255] == 0).all()
    assert other == value


@each_loss
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('scale', [1, 50])  # moderate logits, and logits beyond +-40
def test_logits_of_ignored_pixels_may_be_anything(case, dtype, scale):
    """Value or gradient was NaN: in float16 always, in float32 beside logits beyond 40."""
    logits, labels = batch()
    logits = (scale * logits).to(dtype)
    value, grad = value_and_gradient(case.build(), logits, labels)
    ignored = (labels == 255).unsqueeze(1)
    junk = torch.tensor([torch.nan, torch.inf, -torch.inf], dtype=dtype)
    junk = junk[torch.randint(3, logits.shape)]
    some = ignored & (torch.rand(logits.shape) < 0.5)
    changed = torch.where(some, junk, logits)
    other, other_grad = value_and_gradient(case.build(), changed, labels)
    assert torch.equal(other, value)
    assert torch.equal(other_grad, grad)
    assert (other_grad.movedim(1, -1)[labels == 255] == 0).all()


@each_loss
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_probabilities_of_exactly_one_and_zero(case, dtype):
    """-log 1 is -0.0 in some code, and max pooling read its sign bit as an index."""
    _, labels = batch()
    right = torch.nn.functional.one_hot(torch.where(labels == 255, 0, labels), CLASSES)
    for far in (200.0, torch.inf):  # a probability of 0 by underflow, and by a logit of -inf
        if far == torch.inf and case.config.get('label_smoothing'):
            continue  # a share of each class's -log p: infinite, as in torch
        others = torch.full((), -far)
        logits = torch.where(right.movedim(-1, 1) > 0, 0.0, others).to(dtype)
        value, grad = value_and_gradient(case.build(), logits, labels)
        assert value.isfinite()
        assert grad.isfinite().all()


def test_an_infinite_loss_has_a_finite_gradient_as_in_torch():
    logits = torch.tensor([-torch.inf, 0.0, 1.0]).view(1, 3, 1, 1)
    for name in ('WeightedCrossEntropyLoss', 'SoftmaxFocalLoss', 'SoftDiceLoss', 'SoftIoULoss'):
        loss = MODELS.build(dict(type=name))
        value, grad = value_and_gradient(loss, logits, torch.zeros(1, 1, 1, dtype=torch.long))
        assert not value.isnan()
        assert grad.isfinite().all()


@each_loss
def test_a_batch_without_images_is_zero(case):
    logits, labels = batch(dtype=torch.float32)
    value, grad = value_and_gradient(case.build(), logits[:0], labels[:0])
    assert value == 0
    assert grad.shape == logits[:0].shape


@each_loss
@pytest.mark.parametrize('ignore_index', [-100, CLASSES])
def test_any_ignore_index(case, ignore_index):
    logits, labels = batch()
    other = torch.where(labels == 255, ignore_index, labels)
    assert case.build()(logits, other, ignore_index=ignore_index) == case.build()(logits, labels)


@each_loss
def test_a_head_without_an_ignored_label(case):
    """Some losses compared labels with None."""
    logits, labels = batch()
    labels = labels.clamp(max=CLASSES - 1)
    assert torch.equal(
        case.build()(logits, labels, ignore_index=None), case.build()(logits, labels)
    )


@each_loss
@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
def test_all_ignored_is_zero(case, dtype):
    logits, labels = batch(dtype=dtype)
    value, grad = value_and_gradient(case.build(), logits, torch.full_like(labels, 255))
    assert value == 0
    assert (grad == 0).all()


@each_loss
def test_one_valid_pixel(case):
    logits, labels = batch()
    labels[:] = 255
    labels[0, 2, 3] = 1
    value, grad = value_and_gradient(case.build(), logits, labels)
    assert value.item() == pytest.approx(case.reference(logits, labels), rel=1e-9)
    assert grad.isfinite().all()
    assert (grad[0, :, 2, 3] != 0).any() or value == 0


@each_loss
def test_confident_logits_stay_finite(case):
    _, labels = batch()
    right = torch.nn.functional.one_hot(torch.where(labels == 255, 0, labels), CLASSES)
    for scale in (1e3, -1e3):
        logits = scale * right.movedim(-1, 1).float()
        value, grad = value_and_gradient(case.build(), logits, labels)
        assert value.isfinite()
        assert grad.isfinite().all()


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(case, dtype):
    logits, labels = batch(dtype=dtype, size=(2, 16, 16))
    value, grad = value_and_gradient(case.build(), logits, labels)
    exact, exact_grad = value_and_gradient(case.build(), logits.float(), labels)
    assert value.dtype == torch.float32
    assert grad.dtype == dtype
    torch.testing.assert_close(value, exact, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(grad.float(), exact_grad, rtol=1e-2, atol=1e-4)


@each_loss
def test_large_half_precision_image(case):
    torch.manual_seed(0)
    logits = 8 * torch.randn(1, CLASSES, 512, 1024, dtype=torch.float16)
    labels = torch.randint(0, CLASSES, (1, 512, 1024))
    value, grad = value_and_gradient(case.build(), logits, labels)
    assert value.isfinite()
    assert grad.isfinite().all()


@each_loss
def test_autocast(case):
    logits, labels = batch(dtype=torch.float32)
    plain, plain_grad = value_and_gradient(case.build(), logits, labels)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, grad = value_and_gradient(case.build(), logits, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(grad, plain_grad)


@each_loss
def test_memory_layouts(case):
    logits, labels = batch(dtype=torch.float32, size=(3, 41, 51))
    value, grad = value_and_gradient(case.build(), logits, labels)
    doubled = torch.stack([logits.detach(), logits.detach()], dim=-1)[..., 0]
    for layout in (logits.to(memory_format=torch.channels_last), doubled):
        assert not layout.is_contiguous()
        other, other_grad = value_and_gradient(case.build(), layout, labels)
        torch.testing.assert_close(other, value)
        torch.testing.assert_close(other_grad, grad)


@each_loss
def test_no_synchronisation_with_the_host(case):
    """On the meta device any look at a value raises."""
    loss = case.build(class_weight=WEIGHTS)
    real, labels = batch()
    loss(real, labels)  # what is read once, at the first call
    logits = torch.empty(2, CLASSES, 6, 7, device='meta', requires_grad=True)
    labels = torch.empty(2, 6, 7, dtype=torch.int64, device='meta')
    loss.to('meta')(logits, labels).backward()
    assert logits.grad.shape == logits.shape


@each_loss
def test_pixel_weights_are_honoured_or_refused(case):
    logits, labels = batch()
    ones = torch.ones(labels.shape, dtype=logits.dtype)
    loss = case.build()
    if case.config['type'] == 'LovaszSoftmaxLoss':
        with pytest.raises(ValueError, match='knows no weights'):
            loss(logits, labels, weight=ones)
        return
    torch.testing.assert_close(loss(logits, labels, weight=ones), loss(logits, labels))
    half = ones.clone()
    half[:, ::2] = 0
    value, grad = value_and_gradient(loss, logits, labels, weight=half)
    assert not torch.isclose(value, loss(logits, labels))
    assert (grad[:, :, ::2] == 0).all()


@each_loss
def test_loss_weight_and_name(case):
    logits, labels = batch()
    assert case.build(loss_weight=2.5)(logits, labels) == 2.5 * case.build()(logits, labels)
    assert case.build().loss_name.startswith('loss_')
    assert case.build(loss_name='loss_x').loss_name == 'loss_x'
    with pytest.raises(ValueError, match='must contain'):
        case.build(loss_name='x')


@each_loss
def test_class_weights_stay_out_of_checkpoints_and_follow_the_device(case):
    loss = case.build(class_weight=WEIGHTS)
    logits, labels = batch()
    expected = loss(logits, labels)
    assert not loss.state_dict()
    assert pickle.loads(pickle.dumps(loss))(logits, labels) == expected
    assert copy.deepcopy(loss)(logits, labels) == expected
    assert all(b.device.type == 'meta' for b in loss.to('meta').buffers())


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_class_weights_of_a_model_in_half_precision_stay_exact(case, dtype):
    """They were cast with it: 1e5 is infinite in float16, and the loss was NaN."""
    logits, labels = batch()
    weights = [1e5, 1 / 3, 0.1, 1.0, 3.0]
    expected = case.build(class_weight=weights)(logits, labels)
    loss = case.build(class_weight=weights).to(dtype)
    assert loss(logits, labels) == expected
    assert copy.deepcopy(pickle.loads(pickle.dumps(loss)))(logits, labels) == expected


@each_loss
def test_class_weights_of_another_length(case):
    logits, labels = batch()
    with pytest.raises(ValueError, match=r'class_weight has 2 numbers and the head 5 classes'):
        case.build(class_weight=[1.0, 2.0])(logits, labels)


@each_loss
def test_labels_out_of_range_are_named(case):
    logits, labels = batch()
    labels[0, 0, 0] = CLASSES
    with pytest.raises(ValueError, match=f'labels: label {CLASSES} '):
        case.build()(logits, labels)


@each_pixel_loss
def test_mean_and_sum_of_the_unreduced(case):
    logits, labels = batch()
    loss = case.build()
    pixels = loss(logits, labels, reduction_override='none')
    assert pixels.shape == labels.shape
    assert (pixels[labels == 255] == 0).all()
    valid = (labels != 255).sum()
    torch.testing.assert_close(pixels.sum() / valid, loss(logits, labels))
    torch.testing.assert_close(loss(logits, labels, reduction_override='sum'), pixels.sum())
    torch.testing.assert_close(loss(logits, labels, avg_factor=7), pixels.sum() / 7)
    # A wider divisor doesn't widen the loss.
    divisor = torch.tensor(7, dtype=torch.float64)
    assert loss(logits.float(), labels, avg_factor=divisor).dtype == torch.float32


@each_region_loss
def test_refuses_to_be_unreduced(case):
    logits, labels = batch()
    with pytest.raises(ValueError, match='has no value per pixel'):
        case.build()(logits, labels, reduction_override='none')


@each_loss
@pytest.mark.parametrize('size', [(2, 6, 7), (1, 4, 5), (2, 20)], ids=str)
def test_shapes_that_do_not_match_are_named(case, size):
    logits, _ = batch(size=(2, 4, 5))
    labels = torch.zeros(size, dtype=torch.long)
    with pytest.raises(ValueError, match=r'logits \(2, 5, 4, 5\) and labels .* do not match'):
        case.build()(logits, labels)


@each_loss
def test_labels_of_one_byte(case):
    """LDAM and label smoothing indexed with them, which torch refuses."""
    logits, labels = batch()
    loss = case.build().eval()
    torch.testing.assert_close(loss(logits, labels.byte()), loss(logits, labels))


@each_loss
def test_unknown_reduction(case):
    logits, labels = batch()
    with pytest.raises(ValueError, match='reduction'):
        case.build()(logits, labels, reduction_override='median')
