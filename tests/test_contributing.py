"""The loss that CONTRIBUTING.md shows keeps what the text promises."""

import re
from pathlib import Path

import torch
from mmseg.registry import MODELS

from tests.support.losses import batch


def test_the_shown_loss_works():
    text = (Path(__file__).parents[1] / 'CONTRIBUTING.md').read_text()
    (code,) = re.findall(r'```python\n(.*?)```', text, re.S)
    try:
        exec(code, {})
        logits, labels = batch()
        loss = MODELS.build(dict(type='Poly1Loss', epsilon=0.5, loss_weight=2.0))
        valid = labels != 255
        probs = logits.softmax(1).movedim(1, -1)[valid].gather(1, labels[valid].unsqueeze(1))
        expected = 2 * (-probs.log() + 0.5 * (1 - probs)).mean()
        torch.testing.assert_close(loss(logits, labels), expected)
        pooled = MODELS.build(
            dict(type='LMPLoss', pixel_loss=dict(type='Poly1Loss'), ratio=1.0, pool='batch')
        )
        plain = MODELS.build(dict(type='Poly1Loss'))
        torch.testing.assert_close(pooled(logits, labels), plain(logits, labels))
    finally:
        MODELS.module_dict.pop('Poly1Loss', None)
