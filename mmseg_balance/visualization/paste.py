"""Shows what RareClassPaste does to the images of a training set."""

import argparse
import inspect

import numpy as np
from matplotlib.figure import Figure
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_balance.overrides import add_key_values
from mmseg_balance.runtime.config_files import read_config, type_name
from mmseg_balance.statistics import mix_after_loading
from mmseg_balance.transforms import RareClassPaste
from mmseg_balance.visualization.style import new_figure, save_figure

PASTE = RareClassPaste.__name__


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``mmseg-balance plot paste`` takes."""
    parser.add_argument(
        'config',
        help=f'config whose training set is drawn from; settings of a {PASTE} in it are used',
    )
    parser.add_argument('--images', type=int, default=6, help='how many images to draw')
    parser.add_argument('--seed', type=int, default=0, help='which images, and what is pasted')
    add_key_values(parser, '--options', f'other settings of {PASTE}')
    parser.add_argument('--out', default='paste.png', help='picture to write')


def run(args: argparse.Namespace) -> None:
    """Paste into random images, print what was pasted, and draw before and after."""
    cfg = read_config(args.config)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if 'train_dataloader' not in cfg:
        raise ValueError(f'{args.config} has no train_dataloader: give the config of a training')
    config = mixed_dataset(cfg.train_dataloader.dataset.to_dict(), args.options or {})
    dataset = DATASETS.build(config)
    pairs = draw_pairs(dataset, args.images, args.seed)
    names = dataset.metainfo['classes']
    for index, _, after in pairs:
        wanted, pixels = after['pasted']
        print(f'image {index}: {pixels} pixels of {names[wanted]}')
    save_figure(paste_figure(pairs, names, dataset.metainfo['palette']), args.out)


def mixed_dataset(config: dict, options: dict) -> dict:
    """Make the config of a data set that loads and pastes, and does nothing else.

    Args:
        config: of a data set, with a paste in its pipeline or without.
        options: settings of the paste that override those of the config.

    Raises:
        ValueError: the paste has no such setting.
    """
    known = inspect.signature(RareClassPaste).parameters
    for name in options:
        if name not in known:
            raise ValueError(
                f'--options {name}: {PASTE} has no such setting; it has {", ".join(known)}'
            )
    steps = config.get('pipeline', [])
    settings = next((step for step in steps if type_name(step) == PASTE), dict(type=PASTE))
    return mix_after_loading(config, [{**settings, **options, 'prob': 1.0}], keep_rest=False)


def draw_pairs(dataset, images: int, seed: int) -> list[tuple[int, dict, dict]]:
    """Draw images into which something was pasted: ``(index, before, after)``."""
    if images < 1:
        raise ValueError(f'--images must be at least 1, got {images}')
    rng = np.random.default_rng(seed)
    np.random.seed(seed)  # noqa: NPY002  the paste draws from NumPy's global generator
    pairs = []
    for index in rng.permutation(len(dataset)):
        after = dataset[int(index)]
        if after.get('pasted', (0, 0))[1]:
            pairs.append((int(index), dataset.dataset[int(index)], after))
        if len(pairs) == images:
            break
    if not pairs:
        raise ValueError('nothing could be pasted: lower min_pixels or min_visible')
    return pairs


def paste_figure(
    pairs: list[tuple[int, dict, dict]], names: tuple[str, ...], palette: list
) -> Figure:
    """Draw a row for each image: image and labels before, image and labels after."""
    colors = np.full((256, 3), 255, dtype=np.uint8)
    colors[: len(palette)] = palette
    height, width = pairs[0][1]['gt_seg_map'].shape
    figure = new_figure(11.0, 11 / 4 * height / width * len(pairs) + 0.2 * len(pairs))
    rows = figure.subplots(len(pairs), 4, squeeze=False)
    for axes, (_, before, after) in zip(rows, pairs, strict=True):
        wanted, pixels = after['pasted']
        changed = (before['img'] != after['img']).any(-1)
        for panel, results, title in (
            (0, before, 'before'),
            (2, after, f'{names[wanted]}, {pixels} pixels'),
        ):
            axes[panel].imshow(results['img'][..., ::-1])
            axes[panel].set_title(title, fontsize=8)
            axes[panel + 1].imshow(colors[results['gt_seg_map']])
        axes[3].contour(changed, [0.5], colors='black', linewidths=0.8)
        for axis in axes:
            axis.set_axis_off()
    return figure
