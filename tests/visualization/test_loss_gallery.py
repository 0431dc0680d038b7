"""The gallery's pulls against what the gradients are on paper."""

import numpy as np
import pytest

from mmseg_balance import losses
from mmseg_balance.visualization import loss_gallery
from mmseg_balance.visualization.loss_gallery import LOSSES, PIXELS, label_probabilities, measure


def test_cross_entropy_is_the_unit():
    pull = measure(LOSSES['cross entropy'])
    for weight in pull.weight:
        np.testing.assert_allclose(weight, 1, rtol=1e-9)
    missing = [(1 - probs).sum() for probs in label_probabilities()]
    np.testing.assert_allclose(pull.share, missing / np.sum(missing), rtol=1e-9)


def test_focal_depends_on_the_probability_alone():
    """By p_y: (1 - p)² / p + 2 (1 - p) log(1 / p), times p (1 - p) by the logit."""
    for probs, weight in zip(label_probabilities(), measure(LOSSES['focal']).weight, strict=True):
        expected = (1 - probs) ** 2 - 2 * probs * (1 - probs) * np.log(probs)
        np.testing.assert_allclose(weight, expected, rtol=1e-6)


def test_recall_weighs_a_class_by_what_it_misses():
    for probs, weight in zip(label_probabilities(), measure(LOSSES['recall']).weight, strict=True):
        np.testing.assert_allclose(weight, (probs <= 1 / 3).mean(), rtol=1e-6)


def test_soft_dice_by_the_quotient_rule():
    """D = 2 I / (P + T); pixels of other classes give their class (1 - p) / 2 each."""
    probs = label_probabilities()
    squares = np.array([(p**2).sum() for p in probs])
    others = np.array([((1 - p) ** 2 / 4).sum() for p in probs])
    intersection = np.array([p.sum() for p in probs])
    total = squares + others.sum() - others + np.array(PIXELS)
    pulls = []
    for label, p in enumerate(probs):
        own = 2 / total[label] - 4 * intersection[label] * p / total[label] ** 2
        other = [-4 * intersection[c] * (1 - p) / 2 / total[c] ** 2 for c in range(3) if c != label]
        # dL/dz_y = p_y (dL/dp_y - sum_c p_c dL/dp_c), L = -D / 3
        mean = p * own + sum((1 - p) / 2 * gradient for gradient in other)
        pulls.append(p * (own - mean) / 3)
    expected = [pull * sum(PIXELS) / (1 - p) for pull, p in zip(pulls, probs, strict=True)]
    for weight, value in zip(measure(LOSSES['soft Dice']).weight, expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-6)


@pytest.mark.parametrize('name', LOSSES)
def test_every_loss_has_a_finite_picture(name):
    pull = measure(LOSSES[name])
    assert pull.share.sum() == pytest.approx(1)
    assert all(np.isfinite(weight).all() for weight in pull.weight)
    left, right = loss_gallery.loss_figure(name, pull).axes
    assert left.get_title(loc='left') == name
    assert len(left.lines) == 4
    assert len(right.patches) == 9


def test_every_loss_is_in_the_gallery_or_has_a_reason():
    drawn = {config['type'] for config in LOSSES.values()}
    assert set(losses.__all__) == drawn | loss_gallery.NOT_DRAWN.keys()


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        loss_gallery,
        'LOSSES',
        {name: LOSSES[name] for name in ('cross entropy', *loss_gallery.OVERVIEW)},
    )
    loss_gallery.run(type('Args', (), {'out_dir': str(tmp_path)}))
    assert {path.name for path in tmp_path.iterdir()} >= {'overview.png', 'lovasz_softmax.png'}
    assert '| cross entropy |' in capsys.readouterr().out
