"""doctor.html: the findings on one page that needs nothing else."""

import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import mmcv
import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from mmengine import fileio
from PIL import Image

from mmseg_balance.doctor.examination import Examination
from mmseg_balance.doctor.findings import SEVERITIES, Finding, count
from mmseg_balance.doctor.fixes import fix_text
from mmseg_balance.doctor.imbalance_view import class_rows
from mmseg_balance.doctor.reading import Reading
from mmseg_balance.experiments.progress import number_of
from mmseg_balance.experiments.report import png_url
from mmseg_balance.experiments.strips import paint
from mmseg_balance.runtime.atomic_files import write_text

PICTURE = 320  # longest side
STRANGE = (255, 0, 255)  # colour of values that are no class


def stylesheet() -> Markup:
    """The style that all pages of the package share."""
    style = resources.files('mmseg_balance.experiments') / 'report.css'
    return Markup(style.read_text(encoding='utf-8'))  # noqa: S704  our own file


def write_page(path: Path, examination: Examination, config: str) -> None:
    """Write the page."""
    write_text(Path(path), render(examination, config))


def render(examination: Examination, config: str) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader('mmseg_balance.doctor', ''),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    findings = examination.findings
    return environment.get_template('doctor.html.jinja').render(
        style=stylesheet(),
        config=config,
        counts=count(findings),
        groups=[
            (
                severity,
                [
                    (
                        one,
                        *change_parts(one, examination.reading),
                        pictures(one, examination.reading),
                    )
                    for one in findings
                    if one.severity == severity
                ],
            )
            for severity in SEVERITIES
        ],
        rows=class_rows(examination),
        facts=facts(examination),
        skipped=examination.skipped,
    )


def change_parts(finding: Finding, reading: Reading | None) -> tuple[str, str]:
    """The sentence of a change and its text to paste."""
    if not finding.fix or reading is None:
        return finding.change, ''
    code = fix_text(reading.config, finding.fix)
    return finding.change.removesuffix(code).strip(), code


def facts(examination: Examination) -> list[tuple[str, str]]:
    """What was read, as name and value."""
    reading = examination.reading
    if reading is None:
        return []
    images, gpus = number_of(reading.batch_size, 'image'), number_of(reading.gpus, 'GPU')
    found = [('batch', f'{images} on each of {gpus}')]
    try:
        train = reading.statistics
        pixels = int(train.pixels.sum()) + train.ignored_pixels
        found.append(
            (
                'training set',
                f'{train.num_images} images, {train.num_classes} classes, '
                f'{train.ignored_pixels / max(pixels, 1):.1%} of the pixels ignored',
            )
        )
        found.append(('validation set', f'{reading.val.statistics.num_images} images'))
        sample = reading.sample
        found.append(
            (
                'pipeline',
                f'run on {len(sample.images)} images; resize x{sample.scale:.2f} '
                f'(median), crops of {_sizes(sample.shapes)}',
            )
        )
    except Exception:  # what cannot be read is among the findings
        pass
    stride = reading.model_stride
    if stride:
        found.append(('logits', f'one for {stride:.2g}x{stride:.2g} training pixels'))
    return found


def _sizes(shapes: Sequence[tuple[int, int]]) -> str:
    names = [f'{width}x{height}' for height, width in sorted(set(shapes))]
    return names[0] if len(names) == 1 else f'{names[0]} to {names[-1]}' if names else 'none'


def pictures(finding: Finding, reading: Reading | None) -> list[tuple[str, str]]:
    """(caption, data URL) of the files that show a finding; unreadable ones are left out."""
    found = []
    for kind, path in finding.files:
        try:
            image = _small(path) if kind == 'image' else _painted(path, reading)
        except Exception:  # it may be the very file that the finding is about
            continue
        found.append((f'{kind}: {Path(path).name}', png_url(image)))
    return found


def _small(path: str) -> Image.Image:
    with Image.open(io.BytesIO(fileio.get(path))) as image:
        image = image.convert('RGB')
        image.thumbnail((PICTURE, PICTURE))
        return image


def _painted(path: str, reading: Reading | None) -> Image.Image:
    stored = mmcv.imfrombytes(fileio.get(path), flag='unchanged', backend='pillow').squeeze()
    if stored.ndim != 2:
        return _small(path)
    step = max(1, -(-max(stored.shape) // PICTURE))
    stored = stored[::step, ::step].astype(np.uint8)
    palette = np.full((255, 3), STRANGE, dtype=np.uint8)
    given = reading.train.dataset.metainfo.get('palette') if reading else None
    if not given:
        return Image.fromarray(stored)
    palette[: len(given)] = given
    return paint(stored, palette.tolist(), 255)
