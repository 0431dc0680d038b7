"""Groups of images that depend on each other, from the names of their files.

Neighbouring frames of a video, or both eyes of a patient, are not independent images. Statistics
that treat them as such give intervals that are too narrow, so whole groups are resampled.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

FRAME = r'(?P<video>.+?)_\D*(?P<frame>\d+)$'


def image_groups(names: Sequence[str]) -> np.ndarray:
    """Every image is a group of its own: they do not depend on each other.

    Example:
        >>> image_groups(['b.jpg', 'a.jpg'])
        array([0, 1])
    """
    return np.arange(len(names))


def subject_groups(names: Sequence[str], pattern: str) -> np.ndarray:
    r"""Images of one subject (patient, place, video) are one group.

    Args:
        names: ``(images,)`` file names or paths.
        pattern: Regular expression that is searched for in the name without folder and suffix; its
            groups, taken together, are the subject.

    Returns:
        ``(images,)`` int64, subjects numbered as they first appear.

    Raises:
        ValueError: the pattern is no regular expression, has no group, or does not match a name.

    Example:
        >>> subject_groups(['Image_11L.jpg', 'Image_11R.jpg', 'Image_12L.jpg'], r'_(\d+)[LR]')
        array([0, 0, 1])
    """
    expression = _compiled(pattern)
    if not expression.groups:
        raise ValueError(
            f'pattern is {pattern!r} and has no group: put the subject in brackets, as in '
            r"'_(\d+)[LR]'."
        )
    return _numbered([_match(expression, name).groups() for name in names])


def block_groups(names: Sequence[str], length: int = 15, pattern: str = FRAME) -> np.ndarray:
    """Blocks of consecutive images of one video are a group each.

    Convention: the images of a video are ordered by frame number and cut into blocks of nearly
    equal length, as close to ``length`` as possible, at least one; blocks do not cross videos. A
    block should be longer than the images look alike: at CamVid's one image a second, 15 are 15 s.

    Args:
        names: ``(images,)`` file names or paths.
        length: Images in a block.
        pattern: Regular expression with the groups ``video`` and ``frame``, searched for in the
            name without folder and suffix. The default reads CamVid's ``0001TP_008550`` and
            ``Seq05VD_f00000``.

    Returns:
        ``(images,)`` int64, blocks numbered as they first appear.

    Raises:
        ValueError: length below 1, or the pattern is no regular expression, lacks a group or does
            not match a name.

    Example:
        >>> block_groups(['0001TP_008550.jpg', '0001TP_008580.jpg', 'Seq05VD_f00000.jpg',
        ...               '0001TP_008610.jpg', '0001TP_008640.jpg'], length=2)
        array([0, 0, 1, 2, 2])
    """
    if length < 1:
        raise ValueError(f'length is {length}; a block has at least 1 image.')
    expression = _compiled(pattern)
    if not {'video', 'frame'} <= set(expression.groupindex):
        raise ValueError(
            f'pattern is {pattern!r}; it needs the groups (?P<video>…) and (?P<frame>…).'
        )
    frames: dict[str, list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        match = _match(expression, name)
        if not (match['frame'] or '').isdecimal():
            raise ValueError(
                f'pattern {pattern!r} takes {match["frame"]!r} of the image name '
                f'{PurePath(name).stem!r} for the number of a frame; let (?P<frame>…) match digits.'
            )
        frames.setdefault(match['video'], []).append((int(match['frame']), index))
    blocks: list = [None] * len(names)
    for video, images in frames.items():
        order = [index for _, index in sorted(images)]
        for number, block in enumerate(np.array_split(order, max(1, round(len(order) / length)))):
            for index in block:
                blocks[index] = video, number
    return _numbered(blocks)


def make_groups(names: Sequence[str], how: str = 'images') -> np.ndarray:
    r"""Groups of images by a short text, as a command line or a config gives it.

    Args:
        names: ``(images,)`` file names or paths.
        how: ``'images'``, ``'blocks'``, ``'blocks:LENGTH'`` or ``'subjects:PATTERN'``.

    Raises:
        ValueError: another text, or what the maker of the groups refuses.

    Example:
        >>> make_groups(['Image_11L.jpg', 'Image_11R.jpg'], r'subjects:_(\d+)[LR]')
        array([0, 0])
        >>> make_groups(['a_1.jpg', 'a_2.jpg', 'a_3.jpg', 'a_4.jpg'], 'blocks:2')
        array([0, 0, 1, 1])
    """
    kind, colon, argument = how.partition(':')
    if how == 'images':
        return image_groups(names)
    if kind == 'subjects' and argument:
        return subject_groups(names, argument)
    if kind == 'blocks' and not colon:
        return block_groups(names)
    if kind == 'blocks' and argument.isdecimal():
        return block_groups(names, int(argument))
    raise ValueError(
        f"groups is {how!r}; give 'images', 'blocks', 'blocks:LENGTH' or 'subjects:PATTERN'."
    )


def _compiled(pattern: str) -> re.Pattern:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f'pattern is {pattern!r} and no regular expression: {error}.') from None


def _match(expression: re.Pattern, name: str) -> re.Match:
    match = expression.search(PurePath(name).stem)
    if match is None:
        raise ValueError(
            f'pattern {expression.pattern!r} does not match the image name '
            f'{PurePath(name).stem!r}; give a pattern that matches all of them.'
        )
    return match


def _numbered(keys: Sequence) -> np.ndarray:
    """The number of each key, counted as they first appear."""
    numbers: dict = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
