"""Images and label maps: are they there, readable, and of one size?"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from mmseg_balance.doctor.checks.labels import example, failing, split_name, surveys
from mmseg_balance.doctor.findings import Finding, error
from mmseg_balance.doctor.reading import Reading
from mmseg_balance.runtime.input_checks import REMOTE

IMAGES_MEASURED = 1000
SWAPS_SIDES = (5, 6, 7, 8)  # values of the EXIF orientation tag


def files_missing(reading: Reading) -> Iterator[Finding]:
    """An image or a label map is listed but not there."""
    for split, survey in surveys(reading):
        missing = survey.missing_files
        if missing:
            kind, path, other = missing[0]
            more = f' ({len(missing)} such files)' if len(missing) > 1 else ''
            yield error(
                path,
                f'there is no such {kind} in the {split_name(split)} set{more}; its counterpart '
                f'is {other}',
                'look at img_suffix, seg_map_suffix and data_prefix of the data set, or leave the '
                'image out',
            )


def files_unreadable(reading: Reading) -> Iterator[Finding]:
    """A label map cannot be decoded."""
    for split, _, (first, *_), others in failing(reading, 'unreadable'):
        yield error(
            first.path,
            f'this {split_name(split)} label map cannot be read: {first.detail}{others}',
            'the file may be truncated or no image: replace it or leave it out',
            files=(('image', first.image),),
        )


def sizes_differ(reading: Reading) -> Iterator[Finding]:
    """An image and its label map differ in size, EXIF rotation included."""
    for _, survey in surveys(reading):
        different = []
        for index in survey.spread(IMAGES_MEASURED):
            info = survey.info(index)
            paths = [str(info.get(key) or '') for key in ('img_path', 'seg_map_path')]
            sizes = [_size_of(path) for path in paths]
            if None not in sizes and sizes[0] != sizes[1]:
                different.append((paths, sizes))
        if different:
            paths, (image, labels) = different[0]
            more = f' ({len(different)} of the images looked at)' if len(different) > 1 else ''
            turned = image == labels[::-1]
            yield error(
                paths[1],
                f'{labels[0]}x{labels[1]} pixels, and its image {image[0]}x{image[1]}{more}: '
                'labels are of other places than the pixels, or the crop fails',
                'the image is turned by its EXIF orientation when it is read, the label map is '
                'not: save the image turned'
                if turned
                else 'resize the label map by nearest neighbour to the size of its image, or pair the '
                'files again',
                files=(('image', paths[0]), ('labels', paths[1])),
            )


def _size_of(path: str) -> tuple[int, int] | None:
    """Width and height as OpenCV reads the file; None if its header says nothing."""
    if not path or path.startswith(REMOTE) or not Path(path).is_file():
        return None
    try:
        with Image.open(path) as image:
            size = image.size
            turned = image.getexif().get(0x0112) in SWAPS_SIDES
    except Exception:  # a format of its own, or unreadable: another check says so
        return None
    return size[::-1] if turned else size


def label_colours(reading: Reading) -> Iterator[Finding]:
    """A label map is a colour picture instead of one class index a pixel."""
    for split, _, (first, *_), others in failing(reading, 'colours'):
        yield error(
            first.path,
            f'this {split_name(split)} label map has {first.detail}: colours, where one class index '
            f'a pixel is wanted{others}',
            'write the index of the class in place of each colour, once, as an 8-bit PNG',
            files=example(first),
        )
