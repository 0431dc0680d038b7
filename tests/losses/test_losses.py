"""What single losses do beyond the contract."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine import Config
from mmseg.registry import MODELS

from mmseg_balance.functional import pixel
from tests.support.losses import CASES, CLASSES, WEIGHTS, batch


def build(**config):
    return MODELS.build(config)


def test_weighted_cross_entropy_survives_label_255():
    """MMSegmentation's own raises IndexError here (open-mmlab/mmsegmentation issue 3831)."""
    logits, labels = batch(dtype=torch.float32)
    weight = torch.tensor(WEIGHTS)
    for smoothing in (0.0, 0.2):
        loss = build(
            type='WeightedCrossEntropyLoss', class_weight=WEIGHTS, label_smoothing=smoothing
        )
        torch.testing.assert_close(
            loss(logits, labels),
            F.cross_entropy(
                logits, labels, weight=weight, ignore_index=255, label_smoothing=smoothing
            ),
        )


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_gradient_is_torchs(smoothing):
    logits, labels = batch(size=(2, 41, 401))
    loss = build(type='WeightedCrossEntropyLoss', class_weight=WEIGHTS, label_smoothing=smoothing)
    torch.testing.assert_close(
        torch.autograd.grad(loss(logits, labels), logits),
        torch.autograd.grad(
            F.cross_entropy(
                logits,
                labels,
                weight=torch.tensor(WEIGHTS, dtype=torch.float64),
                ignore_index=255,
                label_smoothing=smoothing,
            ),
            logits,
        ),
    )


def test_focal_without_gamma_is_cross_entropy():
    logits, labels = batch()
    torch.testing.assert_close(
        build(type='SoftmaxFocalLoss', gamma=0.0)(logits, labels),
        build(type='WeightedCrossEntropyLoss')(logits, labels),
    )


@pytest.mark.parametrize(
    'pixel_loss',
    [
        dict(type='SoftmaxFocalLoss'),
        dict(type='RecallLoss'),
        dict(type='WeightedCrossEntropyLoss', class_weight=WEIGHTS),
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ],
)
def test_max_pooling_over_any_pixel_loss(pixel_loss):
    """Stock losses too; with ratio=1 the pooled loss is the mean over valid pixels."""
    logits, labels = batch()
    pixels = MODELS.build(pixel_loss)(logits, labels, ignore_index=255, reduction_override='none')
    mean = pixels.sum() / (labels != 255).sum()
    pooled = build(type='LMPLoss', pixel_loss=pixel_loss, ratio=1.0, pool='batch')
    torch.testing.assert_close(pooled(logits, labels), mean)
    harder = build(type='LMPLoss', pixel_loss=pixel_loss, pool='batch')
    assert harder(logits, labels) > mean


def test_recall_takes_a_checkpoint_of_another_number_of_classes():
    """It loaded, and the first batch then ended the run."""
    logits, labels = batch()
    loss = MODELS.build(dict(type='RecallLoss', momentum=0.9))
    loss.load_state_dict({'running_recall': torch.full((3,), 0.5)})
    fresh = MODELS.build(dict(type='RecallLoss', momentum=0.9))
    torch.testing.assert_close(loss(logits, labels), fresh(logits, labels))
    torch.testing.assert_close(loss.running_recall, fresh.running_recall, equal_nan=True)


def test_label_smoothing_with_class_weights_reads_the_logits_once(monkeypatch):
    calls, primitive = [], pixel.pixel_nll
    monkeypatch.setattr(pixel, 'pixel_nll', lambda *args: calls.append(args) or primitive(*args))
    loss = MODELS.build(
        dict(type='WeightedCrossEntropyLoss', label_smoothing=0.1, class_weight=WEIGHTS)
    )
    loss(*batch())
    assert len(calls) == 1


def test_max_pooling_refuses_region_losses_and_weights_in_two_places():
    logits, labels = batch()
    with pytest.raises(ValueError, match='has no value per pixel'):
        build(type='LMPLoss', pixel_loss=dict(type='SoftDiceLoss'))(logits, labels)
    with pytest.raises(ValueError, match='put the class weights into pixel_loss'):
        build(type='LMPLoss', pixel_loss=dict(type='SoftmaxFocalLoss'), class_weight=WEIGHTS)


def test_tversky_is_dice_and_iou_at_their_weights():
    logits, labels = batch()
    for half, other in ((0.5, dict(type='SoftDiceLoss', power=1)), (1.0, dict(type='SoftIoULoss'))):
        torch.testing.assert_close(
            build(type='SoftTverskyLoss', alpha=half, beta=half)(logits, labels),
            MODELS.build(other)(logits, labels),
        )


def test_rare_class_missed_costs_its_share_of_dice():
    """Pooled over classes, as MMSegmentation's DiceLoss does, it costs next to nothing."""
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    labels[0, 0, 0] = 1
    logits = torch.tensor([20.0, -20.0]).view(1, 2, 1, 1).expand(1, 2, 32, 32)
    macro = build(type='SoftDiceLoss')(logits, labels).item()
    assert macro == pytest.approx(0.5, abs=1e-3)
    assert build(type='SoftDiceLoss', average='micro')(logits, labels).item() < 0.01


class TestRunningRecall:
    def test_moves_by_momentum_and_keeps_absent_classes(self):
        loss = build(type='RecallLoss', momentum=0.9)
        logits, labels = batch()
        loss(logits, labels)
        first = loss.running_recall.clone()
        assert first.isnan().tolist() == [False] * (CLASSES - 1) + [True]
        loss(-logits, labels)
        single = build(type='RecallLoss', momentum=0.5)
        single(-logits, labels)
        torch.testing.assert_close(
            loss.running_recall, 0.9 * first + 0.1 * single.running_recall, equal_nan=True
        )
        only_zero = torch.where(labels == 255, 255, 0)
        before = loss.running_recall.clone()
        loss(logits, only_zero)
        assert torch.equal(loss.running_recall[1:4], before[1:4])

    def test_weights_by_the_running_recall(self):
        logits, labels = batch()
        loss = build(type='RecallLoss', momentum=0.75)
        loss.running_recall = torch.full((CLASSES,), 0.5)
        frozen = copy.deepcopy(loss).eval()
        value = frozen(logits, labels)
        assert torch.equal(frozen.running_recall, torch.full((CLASSES,), 0.5))
        hits = logits.argmax(1) == labels
        recall = torch.tensor([hits[labels == c].double().mean() for c in range(CLASSES - 1)])
        weights = 1 - (0.75 * 0.5 + 0.25 * recall)
        nll = F.cross_entropy(logits, labels, ignore_index=255, reduction='none')
        valid = labels != 255
        torch.testing.assert_close(value, (nll[valid] * weights[labels[valid]]).mean())

    def test_lives_in_the_checkpoint(self):
        logits, labels = batch()
        loss, fresh = (build(type='RecallLoss', momentum=0.9) for _ in range(2))
        loss(logits, labels)
        fresh.load_state_dict(loss.state_dict())
        torch.testing.assert_close(fresh.running_recall, loss.running_recall, equal_nan=True)
        assert fresh(logits, labels) == loss(logits, labels)

    def test_without_momentum_nothing_is_kept(self):
        assert not build(type='RecallLoss').state_dict()


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='SoftmaxFocalLoss', gamma=-1), 'gamma=-1 must not be negative'),
        (dict(type='OHEMCrossEntropyLoss', keep_ratio=0), r'keep_ratio=0 must be in \(0, 1\]'),
        (dict(type='LMPLoss', p=0.5), 'p=0.5'),
        (dict(type='LMPLoss', ratio=1.5), 'ratio=1.5'),
        (dict(type='LMPLoss', pool='all'), "pool='all'"),
        (dict(type='RecallLoss', momentum=1.0), r'momentum=1.0 must be in \[0, 1\)'),
        (dict(type='SoftDiceLoss', average='mean'), "average='mean' must be 'macro' or 'micro'"),
        (dict(type='SoftIoULoss', over='all'), "over='all' must be 'batch' or 'image'"),
        (dict(type='SoftTverskyLoss', classes='some'), "classes='some' must be 'present' or 'all'"),
        (dict(type='SoftTverskyLoss', alpha=-0.1), 'alpha=-0.1 must not be negative'),
        (dict(type='WeightedCrossEntropyLoss', label_smoothing=1.0), 'label_smoothing=1.0'),
        (dict(type='LDAMLoss', statistics='x', scale=0), 'scale=0 must be positive'),
    ],
)
def test_bad_arguments_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_leftovers_of_another_loss_are_named(case):
    loss = case.config['type']
    with pytest.raises(
        TypeError,
        match=rf"{loss} has no argument 'naive_dice'; it has .*"
        rf"dict\(_delete_=True, type='{loss}', …\)",
    ):
        case.build(naive_dice=True)


@pytest.mark.parametrize(
    'left', [dict(p=1.3, ratio=0.25, pool='image'), dict(pixel_loss=dict(type='SoftmaxFocalLoss'))]
)
def test_ohem_over_a_config_of_max_pooling_is_refused_in_a_sentence(left):
    """``got multiple values for keyword argument 'p'``, and cross entropy became another loss."""
    names = ', '.join(map(repr, left))
    message = rf'OHEMCrossEntropyLoss has no argument {names}; it has keep_ratio, .*_delete_=True'
    with pytest.raises(TypeError, match=message):
        build(type='OHEMCrossEntropyLoss', **left)


def test_three_lines_over_a_stock_config(tmp_path):
    """MMEngine merges the dicts, and the stock loss's use_sigmoid and loss_weight stay behind."""
    path = tmp_path / 'own.py'
    path.write_text(
        "_base_ = 'mmseg::_base_/models/deeplabv3_r50-d8.py'\n"
        "model = dict(decode_head=dict(loss_decode=dict(type='LMPLoss', p=1.5)))\n"
    )
    merged = Config.fromfile(path).model.decode_head.loss_decode
    assert merged == dict(type='LMPLoss', p=1.5, use_sigmoid=False, loss_weight=1.0)
    assert MODELS.build(merged).p == 1.5
    for case in CASES:
        loss = case.build(use_sigmoid=False, avg_non_ignore=True)
        assert type(loss).__name__ == case.config['type']


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_sigmoid_on_several_classes_is_refused(case):
    """It was swallowed, though there it means a binary problem for each class."""
    logits, labels = batch()
    with pytest.raises(ValueError, match='use_sigmoid=True on 5 channels means one binary problem'):
        case.build(use_sigmoid=True)(logits, labels)
    logits, labels = batch(classes=1)
    pixels = (9, 1)
    assert case.build(pixels, use_sigmoid=True)(logits, labels) == case.build(pixels)(
        logits, labels
    )


def test_statistics_of_another_data_set():
    from tests.support.losses import statistics

    logits, labels = batch()
    loss = build(type='LogitAdjustedLoss', statistics=statistics((1, 2, 3)))
    with pytest.raises(ValueError, match='statistics have 3 classes and the head 5'):
        loss(logits, labels)
