"""The loss that CONTRIBUTING.md shows keeps what the text promises."""

import re
from contextlib import contextmanager
from pathlib import Path

import torch
from mmseg.registry import MODELS

from tests.support.losses import batch


@contextmanager
def shown_loss():
    """The code of CONTRIBUTING.md, run; its loss is registered inside."""
    text = (Path(__file__).parents[1] / 'CONTRIBUTING.md').read_text()
    (code,) = re.findall(r'```python\n(.*?)```', text, re.S)
    try:
        exec(code, {})
        yield
    finally:
        MODELS.module_dict.pop('Poly1Loss', None)


def test_the_shown_loss_works():
    with shown_loss():
        logits, labels = batch()
        loss = MODELS.build(dict(type='Poly1Loss', epsilon=0.5, loss_weight=2.0))
        valid = labels != 255
        probs = logits.softmax(1).movedim(1, -1)[valid].gather(1, labels[valid].unsqueeze(1))
        expected = 2 * (-probs.log() + 0.5 * (1 - probs)).mean()
        torch.testing.assert_close(loss(logits, labels), expected)
        equal = MODELS.build(dict(type='Poly1Loss', epsilon=0.5, class_weight=[10.0] * 5))
        torch.testing.assert_close(equal(logits, labels), expected / 2)
        pooled = MODELS.build(
            dict(type='LMPLoss', pixel_loss=dict(type='Poly1Loss'), ratio=1.0, pool='batch')
        )
        plain = MODELS.build(dict(type='Poly1Loss'))
        torch.testing.assert_close(pooled(logits, labels), plain(logits, labels))


def test_the_shown_loss_takes_class_weights():
    """The base class divided by their sum, and nobody multiplied them in: a tenth of the value."""
    with shown_loss():
        logits = torch.tensor([[[[2.0, -1.0]], [[0.5, 0.0]], [[-1.0, 1.5]]]])
        labels = torch.tensor([[[1, 0]]])
        plain = MODELS.build(dict(type='Poly1Loss'))(logits, labels)
        tens = MODELS.build(dict(type='Poly1Loss', class_weight=[10.0] * 3))(logits, labels)
        torch.testing.assert_close(tens, plain)
        weighed = MODELS.build(dict(type='Poly1Loss', class_weight=[3.0, 1.0, 7.0]))
        nll = torch.nn.functional.cross_entropy(logits, labels, reduction='none')
        values = (nll + 1 - (-nll).exp()).flatten()
        expected = (1 * values[0] + 3 * values[1]) / 4
        torch.testing.assert_close(weighed(logits, labels), expected)
