"""The decision for IoU and Dice against the package rankseg, and against enumeration."""

from itertools import product

import pytest
import torch

from mmseg_balance.functional.decision import _best_threshold, decide, decide_probs

SHAPES = [
    (2, 16, 16, 1.0),
    (11, 24, 30, 2.0),
    (11, 24, 30, 0.3),
    (4, 16, 16, 5.0),
    (150, 12, 12, 2.0),
]


def smooth_logits(classes, height, width, scale, dtype=torch.float64, images=2):
    """Logits that are alike in neighbours, as a network's are."""
    coarse = torch.randn(images, classes, height // 4, width // 4, dtype=dtype) * scale * 2
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode='bilinear')
    return fine + torch.randn(images, classes, height, width, dtype=dtype) * 0.3


@pytest.mark.requires_package('rankseg')
@pytest.mark.parametrize('decision', ['iou', 'dice'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_it_is_what_rankseg_predicts(shape, decision):
    from rankseg.functional import rankseg

    probs = smooth_logits(*shape).softmax(1)
    expected = rankseg(probs, metric=decision, output_mode='multiclass', solver='RMA')
    found = decide_probs(probs, decision)
    assert torch.equal(found, expected)
    assert not torch.equal(found, probs.argmax(1))  # the comparison says something


@pytest.mark.requires_package('rankseg')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_in_lower_precision_it_differs_from_rankseg_by_rounding_alone(dtype):
    from rankseg.functional import rankseg

    logits = smooth_logits(11, 96, 120, 2.0).to(dtype)
    expected = rankseg(logits.float().softmax(1), metric='iou', solver='RMA')
    found = decide(logits, 'iou')
    assert found.dtype == torch.int64
    assert (found != expected).double().mean() < 1e-3


def objective(p, taken, decision):
    """The formula for one class and one set of pixels."""
    hits, mean = float(p[taken].sum()), float(p.sum())
    if decision == 'dice':
        return 2 * hits / (mean + int(taken.sum()) + 1)
    return hits / (mean + int(taken.sum()) - hits)


@pytest.mark.parametrize('decision', ['iou', 'dice'])
def test_each_class_wants_the_best_of_all_sets(decision):
    sets = [torch.tensor(bits) for bits in product((False, True), repeat=10) if any(bits)]
    for seed in range(5):
        torch.manual_seed(seed)
        p = torch.rand(10, dtype=torch.float64)
        p[0] = 0.9
        best = max(sets, key=lambda taken, p=p: objective(p, taken, decision))
        sure = p[p > 0.5]
        limit = _best_threshold(p, float(sure.sum()), len(sure), float(p.sum()), decision)
        assert torch.equal(p > limit, best)


def test_an_image_without_a_confident_class_gets_one_all_the_same():
    probs = torch.full((1, 4, 3, 3), 0.25)
    found = decide_probs(probs, 'iou')
    assert found.shape == (1, 3, 3)
    assert found.unique().numel() == 1


def test_it_gains_iou_per_image_where_the_probabilities_are_true():
    """Labels drawn from the probabilities: mean IoU over images and classes rises."""
    torch.manual_seed(0)
    gains = []
    for _ in range(40):
        probs = (
            smooth_logits(4, 24, 24, 1.0, images=1)
            + torch.tensor([1.5, 0, 0, -1.0]).view(1, 4, 1, 1)
        ).softmax(1)
        labels = torch.multinomial(probs[0].flatten(1).T, 1).view(24, 24)
        gains.append(
            mean_iou(decide_probs(probs)[0], labels) - mean_iou(probs.argmax(1)[0], labels)
        )
    gains = torch.tensor(gains)
    assert gains.mean() > 3 * gains.std() / len(gains) ** 0.5
    assert gains.mean() > 0.005


def mean_iou(pred, labels):
    scores = []
    for c in range(4):
        union = ((pred == c) | (labels == c)).sum()
        if union:
            scores.append(float(((pred == c) & (labels == c)).sum() / union))
    return sum(scores) / len(scores)


@pytest.mark.parametrize('decision', ['iou', 'dice'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_logit_that_is_not_finite_kept_it_searching_for_ever(value, decision):
    """No threshold is found below a sum that is nan; the other image is decided as before."""
    torch.manual_seed(0)
    good = smooth_logits(3, 8, 8, 2.0)
    logits = good.clone()
    logits[1, 0, 2, 2] = value
    found = decide(logits, decision)
    assert torch.equal(found[0], decide(good[:1], decision)[0])
    expected = good[1].argmax(0)
    expected[2, 2] = found[1, 2, 2]
    assert torch.equal(found[1], expected)


@pytest.mark.parametrize('decision', ['argmax', 'iou', 'dice'])
def test_no_image_has_no_decision(decision):
    assert decide(torch.zeros(0, 3, 4, 5), decision).shape == (0, 4, 5)


def test_argmax_is_the_argmax():
    logits = smooth_logits(5, 8, 8, 1.0)
    assert torch.equal(decide(logits), logits.argmax(1))
    assert torch.equal(decide_probs(logits.softmax(1), 'argmax'), logits.argmax(1))


@pytest.mark.parametrize(
    ('shape', 'decision', 'message'),
    [
        ((1, 3, 4, 4), 'f1', "decision is 'f1'; it must be one of argmax, iou, dice"),
        ((1, 1, 4, 4), 'iou', 'two classes or more'),
        ((3, 4, 4), 'iou', r'\(N, C, H, W\)'),
    ],
)
def test_refuses(shape, decision, message):
    for rule in (decide, decide_probs):
        with pytest.raises(ValueError, match=message):
            rule(torch.zeros(shape), decision)
