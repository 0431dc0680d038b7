"""What the quickstart shows of its screening: a table, a conclusion and a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch
from PIL import Image
from rich.table import Table

from mmseg_balance.experiments.results import read_json
from mmseg_balance.experiments.strips import read_labels
from mmseg_balance.experiments.summary import Method, methods_of
from mmseg_balance.visualization.style import new_figure

BASELINE = 'ce'
CHOOSE_BY = 'mIoU'
SHOWN_IMAGES = 3
RARE = 0.02  # a class with a smaller share of the pixels is rare
NAMES = {
    'ce': 'cross entropy',
    'wce': 'weighted cross entropy',
    'soft_dice_ce': 'soft Dice + cross entropy',
    'recall_dice': 'recall loss + soft Dice',
}


def table(results: dict, method: str) -> Table:
    """Cross entropy and one method side by side: all classes, then recall and IoU of the rare."""
    methods = {found.name: found for found in methods_of(results)}
    first, second = methods[BASELINE], methods[method]
    recommended = method == results['recommended']['method']
    said = 'recommended' if recommended else 'next on dev, not recommended'
    number = results['setting']['test_images']
    result = Table(title=f'{number} test images, in % (in brackets: share of the pixels)')
    result.add_column('', no_wrap=True)
    for heading in (NAMES[BASELINE], f'{NAMES[method]}\n({said})', 'difference'):
        result.add_column(heading, justify='right')
    for title, key in (
        ('accuracy', 'acc'),
        ('mIoU', 'mIoU'),
        ('mean recall', 'mRecall'),
        ('calibration score', 'cal'),
    ):
        result.add_row(title, *_cells(*(one.runs[0]['scores'][key] for one in (first, second))))
    share = np.asarray(results['pixels']) / sum(results['pixels'])
    for score in ('recall', 'IoU'):
        result.add_section()
        for index in rare_classes(results['pixels']):
            title = f'{score}: {results["classes"][index]} ({100 * share[index]:.2f} %)'
            result.add_row(title, *_cells(*_of_class(score, index, first, second)))
    return result


def rare_classes(pixels: Sequence[int]) -> list[int]:
    """Classes below ``RARE``, the rarest last; without those that have no pixel.

    >>> rare_classes([1000, 0, 2, 10])
    [3, 2]
    """
    total = sum(pixels)
    rare = [index for index, count in enumerate(pixels) if 0 < count < RARE * total]
    return sorted(rare, key=lambda index: -pixels[index])


def _of_class(score: str, index: int, *methods: Method) -> list[float]:
    return [one.per_class(score)[index] for one in methods]


def _cells(before: float, after: float) -> list[str]:
    difference = 100 * (after - before)
    colour = 'green' if difference > 0.05 else 'red' if difference < -0.05 else ''
    text = f'{difference:+.1f}'
    return [f'{100 * before:.1f}', f'{100 * after:.1f}', f'[{colour}]{text}[/]' if colour else text]


def conclusion(results: dict, method: str) -> str:
    """What dev and test say of the method, in sentences; also when it is nothing."""
    found = {run['method']: run['scores'][CHOOSE_BY] for run in results['runs'] if is_test(run)}
    gain = 100 * (found[method] - found[BASELINE])
    name, how = NAMES[method], f'chosen by mIoU on {results["setting"]["dev_images"]} dev images'
    name = name[0].upper() + name[1:]
    if method != results['recommended']['method']:
        return f'On dev nothing beats cross entropy in mIoU ({how}): keep cross entropy.'
    if gain <= 0:
        return (
            f'{name} is {how}, and on the test images its mIoU is not above that of '
            f'cross entropy ({gain:+.1f} points): nothing beats cross entropy here.'
        )
    return (
        f'{name} is {how}; on the test images it has {gain:+.1f} points of mIoU over cross entropy.'
    )


def is_test(run: dict) -> bool:
    return run['split'] == 'test'


def shown_images(predictions: Path, pixels: Sequence[int]) -> list[str]:
    """Names of the images to show, chosen by truth alone: most rare classes, most of their pixels."""
    rare = rare_classes(pixels)

    def content(name: str) -> tuple[int, int]:
        return rare_content(read_labels(predictions / f'{name}_truth.png'), rare)

    names = read_json(predictions / 'meta.json')['images']
    return sorted(names, key=content, reverse=True)[:SHOWN_IMAGES]


def rare_content(labels: np.ndarray, rare: Sequence[int]) -> tuple[int, int]:
    """How many rare classes an image has, and how many of their pixels.

    >>> rare_content(np.array([[0, 3, 3, 2]]), [3, 2, 4])
    (2, 3)
    """
    counts = np.bincount(labels.ravel(), minlength=256)[list(rare)]
    return int((counts > 0).sum()), int(counts.sum())


def draw(results: dict, folder: Path, method: str, path: Path) -> None:
    """Write a picture with a row for each image: input, truth, cross entropy, the method."""
    folders = {
        run['method']: folder / run['folder'] / 'predictions'
        for run in results['runs']
        if is_test(run)
    }
    first, second = folders[BASELINE], folders[method]
    meta = read_json(first / 'meta.json')
    names = shown_images(first, results['pixels'])
    rare = rare_classes(results['pixels'])
    colours = np.asarray(meta['palette'], np.uint8)
    colours[[c for c in range(len(colours)) if c not in rare]] //= 2  # so that the rare stand out
    headings = ('input', 'truth', NAMES[BASELINE], NAMES[method])
    figure = new_figure(14, 1.72 * len(names) + 0.6)
    for axes, name in zip(figure.subplots(len(names), 4, squeeze=False), names, strict=True):
        maps = (first / f'{name}_truth.png', first / f'{name}.png', second / f'{name}.png')
        with Image.open(meta['images'][name]) as image:
            panels = [np.asarray(image.convert('RGB')), *(colours[read_labels(p)] for p in maps)]
        for one, panel, heading in zip(axes, panels, headings, strict=True):
            one.imshow(panel, interpolation='nearest')
            one.axis('off')
            if name == names[0]:
                one.set_title(heading, size=12)
    legend = [Patch(color=colours[c] / 255, label=meta['classes'][c]) for c in rare]
    figure.legend(
        handles=legend, loc='outside lower center', ncols=max(len(legend), 1), frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
