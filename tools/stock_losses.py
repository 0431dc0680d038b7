"""What MMSegmentation's own losses do where classes are unbalanced, and what these do.

    python tools/stock_losses.py

prints the table of docs/losses.md, measured on this machine's CPU.
"""

import argparse
import platform
import warnings

import mmseg
import torch
from mmseg.registry import MODELS
from torch import Tensor

import mmseg_balance  # noqa: F401  first: it makes MMSegmentation importable

WEIGHTS = [0.5, 1.0, 2.0, 4.0]


def evaluate(config: dict, logits: Tensor, labels: Tensor) -> str:
    """The loss, a word on its gradient where that is bad, or the error."""
    logits = logits.detach().clone().requires_grad_()
    try:
        value = MODELS.build(config)(logits, labels, ignore_index=255)
        if value.dim():
            return f'a tensor of shape {tuple(value.shape)}'
        text = f'{value.item():.4g}'
        (gradient,) = torch.autograd.grad(value, logits, allow_unused=True)
    except Exception as error:  # whatever it is, it is the result
        return f'{type(error).__name__}: {str(error).splitlines()[0][:60]}'
    if gradient is None or not gradient.any():
        return f'{text}, no gradient'
    return text if gradient.isfinite().all() else f'{text}, gradient not finite'


def label_255_with_class_weights(config: dict) -> str:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 16, 16))
    labels[:, :2] = 255
    return evaluate(dict(config, class_weight=WEIGHTS), torch.randn(2, 4, 16, 16), labels)


def rare_class_missed(config: dict) -> str:
    """One class of two has 1 pixel of 1024, none of it found; the other is perfect."""
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    labels[0, 0, 0] = 1
    return evaluate(config, torch.tensor([9.0, -9.0]).view(1, 2, 1, 1).expand(1, 2, 32, 32), labels)


def ignored_pixels_changed(config: dict) -> str:
    """The same valid pixels, other logits where the label is ignored."""
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 16, 16))
    labels[:, :8] = 255
    logits = torch.randn(2, 4, 16, 16)
    changed = logits.clone()
    changed[:, :, :8] += 3 * torch.randn(2, 4, 8, 16)
    return f'{evaluate(config, logits, labels)} → {evaluate(config, changed, labels)}'


def one_channel(config: dict) -> str:
    """A binary head with one output, all wrong → all right."""
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[:, 4:8, 4:8] = 1
    right = 4.0 * (2 * labels.unsqueeze(1) - 1)
    return f'{evaluate(config, -right, labels)} → {evaluate(config, right, labels)}'


def all_ignored(config: dict) -> str:
    torch.manual_seed(0)
    return evaluate(config, torch.randn(2, 4, 16, 16), torch.full((2, 16, 16), 255))


def half_precision(config: dict) -> str:
    """float16 logits of 512×512 pixels; beside it the value for the same logits in float32."""
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 512, 512))
    logits = (4 * torch.randn(2, 4, 512, 512)).half()
    return f'{evaluate(config, logits, labels)} ({evaluate(config, logits.float(), labels)})'


CROSS_ENTROPY = dict(type='CrossEntropyLoss', avg_non_ignore=True)
ROWS = [
    (
        'label 255 with class weights',
        label_255_with_class_weights,
        [
            (CROSS_ENTROPY, dict(type='WeightedCrossEntropyLoss')),
            (dict(type='LovaszLoss', reduction='none'), dict(type='LovaszSoftmaxLoss')),
        ],
    ),
    (
        'rare class wholly missed',
        rare_class_missed,
        [(dict(type='DiceLoss'), dict(type='SoftDiceLoss'))],
    ),
    (
        'ignored pixels changed',
        ignored_pixels_changed,
        [
            (dict(type='DiceLoss'), dict(type='SoftDiceLoss')),
            (dict(type='TverskyLoss'), dict(type='SoftTverskyLoss')),
        ],
    ),
    (
        'one channel, all wrong → all right',
        one_channel,
        [
            (dict(type='TverskyLoss'), dict(type='SoftTverskyLoss')),
            (dict(type='DiceLoss', use_sigmoid=True), dict(type='SoftDiceLoss')),
        ],
    ),
    (
        'all ignored',
        all_ignored,
        [
            (CROSS_ENTROPY, dict(type='WeightedCrossEntropyLoss')),
            (dict(type='DiceLoss'), dict(type='SoftDiceLoss')),
            (dict(type='TverskyLoss'), dict(type='SoftTverskyLoss')),
            (dict(type='LovaszLoss', reduction='none'), dict(type='LovaszSoftmaxLoss')),
        ],
    ),
    (
        'float16 (float32)',
        half_precision,
        [
            (CROSS_ENTROPY, dict(type='WeightedCrossEntropyLoss')),
            (dict(type='DiceLoss'), dict(type='SoftDiceLoss')),
            (dict(type='TverskyLoss'), dict(type='SoftTverskyLoss')),
        ],
    ),
]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    warnings.filterwarnings('ignore')
    print('| case | MMSegmentation | gives | this package | gives |')
    print('|---|---|---|---|---|')
    for name, case, pairs in ROWS:
        for theirs, ours in pairs:
            print(
                f'| {name} | `{theirs["type"]}` | {case(theirs)} | `{ours["type"]}` | {case(ours)} |'
            )
    print(
        f'\nMMSegmentation {mmseg.__version__}, torch {torch.__version__}, '
        f'Python {platform.python_version()}, seed 0, CPU.'
    )


if __name__ == '__main__':
    main()
