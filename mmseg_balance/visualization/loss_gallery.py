"""What each loss does with pixels: how hard it pulls on them, by probability and by class.

One artificial batch for all losses: three classes with 90, 9 and 1 % of the pixels, of which the
frequent one is segmented well and the rare one badly. Nothing is trained; a loss that draws random numbers is averaged.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_balance.statistics import ClassStatistics
from mmseg_balance.visualization.style import COLORS, INK, new_figure, plain_axes, save_figure

CLASSES = ('frequent, 90 %', 'medium, 9 %', 'rare, 1 %')
PIXELS = (36_000, 3_600, 400)
# The probabilities of the labels are the quantiles u^skill, u even in (0, 1): recall 99, 79, 36 %.
SKILL = (0.25, 0.7, 2.5)
RANGE = (3e-3, 3e2)
# Curves that lie on each other stay visible: the thinner is drawn on the thicker.
WIDTHS = (4.5, 2.8, 1.4)

COUNTS = ClassStatistics.from_rows(CLASSES, [PIXELS])
LOSSES = {
    'cross entropy': dict(type='WeightedCrossEntropyLoss'),
    'weighted cross entropy': dict(
        type='WeightedCrossEntropyLoss', class_weight=[float(sum(PIXELS) / n) for n in PIXELS]
    ),
    'focal': dict(type='SoftmaxFocalLoss'),
    'hard pixels (OHEM)': dict(type='OHEMCrossEntropyLoss'),
    'loss max-pooling': dict(type='LMPLoss'),
    'recall': dict(type='RecallLoss'),
    'LDAM': dict(type='LDAMLoss', statistics=COUNTS, scale=1.0),
    'logit adjustment': dict(type='LogitAdjustedLoss', statistics=COUNTS),
    'balanced variation': dict(type='BalancedVariationLoss', statistics=COUNTS),
    'seesaw': dict(type='SoftmaxSeesawLoss', statistics=COUNTS),
    'soft Dice': dict(type='SoftDiceLoss'),
    'soft Dice, micro': dict(type='SoftDiceLoss', average='micro'),
    'soft IoU': dict(type='SoftIoULoss'),
    'soft Tversky': dict(type='SoftTverskyLoss'),
    'generalised Dice': dict(type='GeneralizedDiceLoss'),
    'Lovász-softmax': dict(type='LovaszSoftmaxLoss'),
}
# A loss that adds noise to the logits is drawn as a mean.
DRAWS = {'BalancedVariationLoss': 8}
# What the pictures cannot show, and why.
NOT_DRAWN = {
    'CenterlineDiceLoss': 'it sees shapes, and the batch has none',
    'PairedLoss': 'a sum of other losses',
    'RegionSizeLoss': 'it corrects the size of a class, not the pixels of a label',
}
OVERVIEW = (
    'focal',
    'loss max-pooling',
    'recall',
    'weighted cross entropy',
    'soft Dice',
    'Lovász-softmax',
)


@dataclass(frozen=True)
class Pull:
    """What a loss does with the artificial batch.

    Args:
        weight: per class, the pull on each of its pixels relative to cross entropy's: the
            gradient of the loss by the label's logit over that of the cross entropy.
        share: ``(C,)`` of each class in the sum of the pulls.
    """

    weight: tuple[np.ndarray, ...]
    share: np.ndarray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mmseg-balance plot losses``."""
    parser.add_argument('--out-dir', default='loss_gallery', help='folder for the pictures')


def run(args: argparse.Namespace) -> None:
    """Draw a picture per loss and one of six, and print each class's share of the gradient."""
    pulls = {name: measure(config) for name, config in LOSSES.items()}
    folder = Path(args.out_dir)
    for name, pull in pulls.items():
        save_figure(loss_figure(name, pull), str(folder / f'{file_name(name)}.png'))
    save_figure(
        overview_figure({name: pulls[name] for name in OVERVIEW}), str(folder / 'overview.png')
    )
    print(share_table(pulls))


def label_probabilities() -> tuple[np.ndarray, ...]:
    """Per class, the probability that each pixel's label has, in rising order."""
    return tuple(
        ((np.arange(n) + 0.5) / n) ** skill for n, skill in zip(PIXELS, SKILL, strict=True)
    )


def batch() -> tuple[Tensor, Tensor]:
    """``(1, C, 1, n)`` float64 logits and ``(1, 1, n)`` labels; other classes share the rest evenly.

    Example:
        >>> logits, labels = batch()
        >>> logits.shape, (logits.softmax(1).argmax(1) == labels)[labels == 2].double().mean()
        (torch.Size([1, 3, 1, 40000]), tensor(0.3550, dtype=torch.float64))
    """
    labels = torch.arange(len(PIXELS)).repeat_interleave(torch.tensor(PIXELS))
    of_label = torch.from_numpy(np.concatenate(label_probabilities()))
    others = (1 - of_label) / (len(PIXELS) - 1)
    probs = others.expand(len(PIXELS), -1).clone()
    probs.scatter_(0, labels[None], of_label[None])
    return probs.log()[None, :, None], labels[None, None]


def measure(loss_config: Mapping) -> Pull:
    """The pull of one loss on each pixel.

    Example:
        >>> pull = measure(dict(type='WeightedCrossEntropyLoss'))
        >>> [bool(np.allclose(weight, 1)) for weight in pull.weight]
        [True, True, True]
    """
    pull = _pull(loss_config)
    plain = _pull(LOSSES['cross entropy'])
    weights = np.split(pull / plain, np.cumsum(PIXELS)[:-1])
    sums = np.array([part.sum() for part in np.split(pull, np.cumsum(PIXELS)[:-1])])
    return Pull(tuple(weights), sums / sums.sum())


def _pull(loss_config: Mapping) -> np.ndarray:
    """Minus the gradient by the label's logit: how strongly a step raises it."""
    logits, labels = batch()
    logits.requires_grad_()
    loss = MODELS.build(dict(loss_config)).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = DRAWS.get(loss_config['type'], 1)
        mean = sum(loss(logits, labels) for _ in range(draws)) / draws
    (grad,) = torch.autograd.grad(mean, logits)
    return -grad.gather(1, labels[:, None]).flatten().numpy()


def loss_figure(name: str, pull: Pull) -> Figure:
    """Weight against probability on the left, shares of pixels and of the gradient on the right."""
    figure = new_figure(7.2, 2.7)
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    _draw_weights(left, pull)
    left.set_title(name, loc='left', size=11, weight='bold', color=INK)
    left.set_ylabel('weight relative to\ncross entropy', size=8)
    left.set_xlabel('probability of the label', size=8)
    bars = {
        'pixels': np.array(PIXELS) / sum(PIXELS),
        'cross\nentropy': measure(LOSSES['cross entropy']).share,
        'this loss': pull.share,
    }
    _draw_shares(right, bars)
    right.set_title('share of the gradient', loc='left', size=9, color=INK)
    return figure


def overview_figure(pulls: Mapping[str, Pull]) -> Figure:
    """Weight against probability, a panel per loss."""
    figure = new_figure(7.2, 4.6)
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for axes, (name, pull) in zip(panels.flat, pulls.items(), strict=True):
        _draw_weights(axes, pull, legend=False)
        axes.set_title(name, loc='left', size=9, weight='bold', color=INK)
        axes.text(
            0.97,
            0.04,
            f'rare class: {pull.share[-1]:.0%} of the gradient',
            size=7,
            color=INK,
            ha='right',
            transform=axes.transAxes,
            bbox=dict(facecolor='white', edgecolor='none', alpha=0.8, pad=1),
        )
    for axes in panels[-1]:
        axes.set_xlabel('probability of the label', size=8)
    for axes in panels[:, 0]:
        axes.set_ylabel('weight relative to\ncross entropy', size=8)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc='outside upper center',
        ncols=4,
        frameon=False,
        fontsize=8,
    )
    return figure


def share_table(pulls: Mapping[str, Pull]) -> str:
    """Markdown: each class's share of the gradient, in %."""
    lines = [f'| loss | {" | ".join(CLASSES)} |', '|---|' + '--:|' * len(CLASSES)]
    lines += [
        f'| {name} | ' + ' | '.join(f'{100 * share:.1f}' for share in pull.share) + ' |'
        for name, pull in pulls.items()
    ]
    return '\n'.join(lines)


def file_name(name: str) -> str:
    """The name of a loss as a file name.

    >>> file_name('Lovász-softmax'), file_name('hard pixels (OHEM)')
    ('lovasz_softmax', 'hard_pixels_ohem')
    """
    plain = name.lower().replace('á', 'a')
    return '_'.join(''.join(c if c.isalnum() else ' ' for c in plain).split())


def _draw_weights(axes: Axes, pull: Pull, legend: bool = True) -> None:
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=':', label='cross entropy')
    for label, color, width, prob, weight in zip(
        CLASSES, COLORS, WIDTHS, label_probabilities(), pull.weight, strict=False
    ):
        # What a loss leaves out entirely is drawn on the lower edge.
        axes.plot(prob, weight.clip(*RANGE), color=color, linewidth=width, label=label)
    axes.set(xlim=(0, 1), ylim=RANGE, yscale='log')
    axes.grid(alpha=0.25)
    axes.tick_params(which='minor', left=False)
    plain_axes(axes)
    if legend:
        axes.legend(frameon=False, fontsize=7, loc='best')


def _draw_shares(axes: Axes, bars: Mapping[str, np.ndarray]) -> None:
    names = list(bars)[::-1]
    left = np.zeros(len(names))
    for index, color in zip(range(len(CLASSES)), COLORS, strict=False):
        width = np.array([100 * bars[name][index] for name in names])
        axes.barh(names, width, left=left, color=color, height=0.6)
        for row, (start, size) in enumerate(zip(left, width, strict=True)):
            if size >= 7:
                axes.text(
                    start + size / 2,
                    row,
                    f'{size:.0f}',
                    color='white',
                    size=8,
                    ha='center',
                    va='center',
                )
        left = left + width
    axes.set_xlim(0, 100)
    plain_axes(axes)
    axes.spines['left'].set_visible(False)
    axes.tick_params(left=False)
    axes.set_xlabel('%', size=8)
