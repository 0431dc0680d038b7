"""Rules that hold out a part of a training set, by file names alone.

Convention: a rule takes the names of the images in any order and returns the set of those that
it holds out; the others stay in training. It depends on nothing but the names, so a split is
the same on every machine and needs no list of files.
"""

import re
from collections.abc import Collection, Iterable


def last_of_each_video(names: Iterable[str], video: str, share: float = 0.2) -> set[str]:
    r"""Hold out the end of each video.

    Neighbouring frames are nearly the same picture, so one stretch of time leaves a video as a
    whole: of ``n`` frames the last ``round(share * n)``.

    Args:
        names: File names; frames of one video sort by time.
        video: Regular expression that matches the video at the beginning of a name.
        share: Share of each video, between 0 and 1.

    Raises:
        ValueError: `share` is out of range, or a name does not match `video`.

    Example:
        >>> frames = ['a_1', 'a_2', 'a_3', 'a_4', 'b_1', 'b_2']
        >>> sorted(last_of_each_video(frames, video='[a-z]', share=0.5))
        ['a_3', 'a_4', 'b_2']
    """
    if not 0 < share < 1:
        raise ValueError(f'share={share!r} is not allowed; give a number between 0 and 1.')
    videos: dict[str, list[str]] = {}
    for name in sorted(names):
        videos.setdefault(_part(name, video, 'video'), []).append(name)
    return {
        name
        for frames in videos.values()
        for name in frames[len(frames) - round(share * len(frames)) :]
    }


def every_nth(names: Iterable[str], n: int) -> set[str]:
    """Hold out every ``n``-th name of the sorted names: the ``n``-th, the ``2n``-th, and so on.

    Raises:
        ValueError: `n` is below 2, so that nothing would be left to train on.

    Example:
        >>> sorted(every_nth(['d', 'c', 'b', 'a', 'e'], n=2))
        ['b', 'd']
    """
    if n < 2:
        raise ValueError(f'n={n!r} is not allowed; give 2 or more.')
    return set(sorted(names)[n - 1 :: n])


def of_subjects(names: Iterable[str], subject: str, held_out: Collection[str]) -> set[str]:
    r"""Hold out all images of some subjects.

    Args:
        names: File names.
        subject: Regular expression that matches the beginning of a name; its first group, if
            it has one, is the subject.
        held_out: The subjects to hold out.

    Raises:
        ValueError: a name does not match `subject`, or a subject of `held_out` has no image.

    Example:
        >>> eyes = ['Image_01L', 'Image_01R', 'Image_02L', 'Image_02R']
        >>> sorted(of_subjects(eyes, r'Image_(\d+)', held_out=['02']))
        ['Image_02L', 'Image_02R']
    """
    subjects = {name: _part(name, subject, 'subject') for name in names}
    missing = sorted(set(held_out) - set(subjects.values()))
    if missing:
        raise ValueError(
            f'held_out={list(held_out)!r}: no image of {missing}; the subjects are '
            f'{sorted(set(subjects.values()))}.'
        )
    return {name for name, found in subjects.items() if found in held_out}


def _part(name: str, pattern: str, argument: str) -> str:
    match = re.match(pattern, name)
    if match is None:
        raise ValueError(
            f'{argument}={pattern!r} does not match the file name {name!r}; '
            'give a regular expression that matches every name.'
        )
    return match.group(1) if match.re.groups else match.group()
