"""What the validation images are worth before and after a map."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

import torch

from mmseg_balance.recalibration import images
from mmseg_balance.recalibration.logit_map import LogitMap


def test_ignored_pixels_do_not_count_as_changed(monkeypatch):
    """They are none of the ``pixels`` that the report counts beside."""
    logits = torch.tensor([0.1, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
    labels = torch.tensor([[[0, 1, 255, 255]]])
    monkeypatch.setattr(images, 'images_of', lambda *_: [(logits, labels)])
    flipped = LogitMap((1.0, 1.0), (0.0, 1.0))
    _, after, changed = images.measure(None, None, [flipped], None, 255, 10)
    assert changed == after.sums.pixels.sum() == 2
