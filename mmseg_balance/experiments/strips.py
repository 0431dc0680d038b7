"""Image strips: input, truth and each method's prediction, where the methods differ most."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_balance.experiments.results import read_json
from mmseg_balance.functional.sampling import evenly

WIDTH = 360  # pixels of a picture in the report


def fixed_images(dataset, number: int) -> list[str]:
    """Paths of evenly spaced images of the test set: the same ones for every run."""
    chosen = evenly(len(dataset), number).tolist()
    return [dataset.get_data_info(index)['img_path'] for index in chosen]


def disagreement(predictions: np.ndarray, labels: np.ndarray, ignore_index: int) -> float:
    """Share of pixels on which not all methods agree, averaged over the classes in the truth.

    Averaging over classes lets a lost pedestrian weigh as much as a ragged road.

    Args:
        predictions: ``(M, H, W)``, one label map per method.
        labels: ``(H, W)``.
        ignore_index: label of pixels that do not count.

    >>> labels = np.array([[0, 0, 0, 1]])
    >>> disagreement(np.array([[[0, 0, 0, 1]], [[0, 0, 0, 0]]]), labels, 255)
    0.5
    """
    differ = (predictions != predictions[0]).any(axis=0)
    shares = [differ[labels == c].mean() for c in np.unique(labels) if c != ignore_index]
    return float(np.mean(shares)) if shares else 0.0


def mean_iou(prediction: np.ndarray, labels: np.ndarray, ignore_index: int) -> float:
    """IoU averaged over the classes in one image's truth; nan if all of it is ignored."""
    valid = labels != ignore_index
    scores = []
    for c in np.unique(labels[valid]):
        truth, found = labels == c, (prediction == c) & valid
        scores.append((truth & found).sum() / (truth | found).sum())
    return float(np.mean(scores)) if scores else float('nan')


def collect_strips(results: dict, work_dir: Path, number: int) -> dict:
    """Picks the images and writes their small copies into ``<work_dir>/strips``.

    A method is shown by its first finished seed.

    Returns:
        Palette, ignore index and the pictures: paths (relative to ``work_dir``) of input, truth
        and predictions, the most different image first.
    """
    first = {}
    for run in results['runs']:
        folder = work_dir / run['folder'] / 'predictions'
        if run['split'] == 'test' and run['decision'] == 'argmax' and folder.is_dir():
            first.setdefault(run['method'], folder)
    metas = [read_json(folder / 'meta.json') for folder in first.values()]
    if not metas or None in metas:
        return {'pictures': []}
    meta = metas[0]
    kept = [_kept(f, m['images']) for f, m in zip(first.values(), metas, strict=True)]
    files = {
        image: {method: of[image] for method, of in zip(first, kept, strict=True)}
        for image in set.intersection(*map(set, kept))
    }
    ranked = sorted(
        ((_differences(files[image], meta['ignore_index']), image) for image in files), reverse=True
    )[:number]
    pictures = [_picture(image, files[image], meta, work_dir, value) for value, image in ranked]
    return {'palette': _palette(meta), 'ignore_index': meta['ignore_index'], 'pictures': pictures}


def _kept(folder: Path, images: dict[str, str]) -> dict[str, str]:
    """Where the files of an image begin, by its path: another call may have other numbers."""
    kept = {image: str(folder / name) for name, image in images.items()}
    return {
        image: start
        for image, start in kept.items()
        if Path(f'{start}.png').is_file() and Path(f'{start}_truth.png').is_file()
    }


def _differences(files: dict[str, str], ignore_index: int) -> float:
    predictions = np.stack([read_labels(f'{start}.png') for start in files.values()])
    return disagreement(predictions, _truth(files), ignore_index)


def _truth(files: dict[str, str]) -> np.ndarray:
    return read_labels(f'{next(iter(files.values()))}_truth.png')


def read_labels(path: str | Path) -> np.ndarray:
    """A label map, ``(H, W)`` uint8."""
    with Image.open(path) as image:
        return np.asarray(image)


def _picture(image: str, files: dict[str, str], meta: dict, work_dir: Path, value: float) -> dict:
    out = work_dir / 'strips'
    out.mkdir(exist_ok=True)
    name = Path(next(iter(files.values()))).name
    truth = _truth(files)
    predictions = {}
    for i, (method, start) in enumerate(files.items()):
        labels = read_labels(f'{start}.png')
        predictions[method] = {
            'path': _save_small(labels, out / f'{name}_{i}.png', work_dir),
            'mIoU': mean_iou(labels, truth, meta['ignore_index']),
        }
    return {
        'name': Path(image).name,
        'disagreement': value,
        'input': _save_input(Path(image), out / f'{name}.jpg', work_dir),
        'truth': _save_small(truth, out / f'{name}_truth.png', work_dir),
        'predictions': predictions,
        'classes': [int(c) for c in np.unique(truth) if c != meta['ignore_index']],
    }


def _small_size(size: tuple[int, int]) -> tuple[int, int]:
    factor = min(1.0, WIDTH / size[0])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _save_small(labels: np.ndarray, path: Path, work_dir: Path) -> str:
    image = Image.fromarray(labels)
    image.resize(_small_size(image.size), Image.Resampling.NEAREST).save(path, optimize=True)
    return str(path.relative_to(work_dir))


def _save_input(source: Path, path: Path, work_dir: Path) -> str | None:
    """A small JPEG of the input, an earlier one where the file is gone; None without either."""
    try:
        with Image.open(source) as image:
            small = image.convert('RGB').resize(_small_size(image.size), Image.Resampling.LANCZOS)
    except OSError:
        return str(path.relative_to(work_dir)) if path.is_file() else None
    small.save(path, quality=82)
    return str(path.relative_to(work_dir))


def _palette(meta: dict) -> list[list[int]]:
    """The data set's colours; evenly spread hues where it has none or too few."""
    number = len(meta['classes'])
    if len(meta['palette']) >= number:
        return meta['palette'][:number]
    import colorsys

    turns = [(0.61803399 * i) % 1 for i in range(number)]
    return [
        [round(255 * x) for x in colorsys.hsv_to_rgb(t, 0.65, 0.55 + 0.4 * (i % 2))]
        for i, t in enumerate(turns)
    ]


def paint(labels: np.ndarray, palette: Sequence[Sequence[int]], ignore_index: int) -> Image.Image:
    """Label map to a palette picture; ignored pixels are transparent."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = np.asarray(palette, np.uint8)
    image = Image.fromarray(labels.astype(np.uint8)).convert('P')
    image.putpalette(colours.tobytes())
    if 0 <= ignore_index < 256:
        image.info['transparency'] = ignore_index
    return image
