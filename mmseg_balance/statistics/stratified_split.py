"""A training and a development set in which every class has images on both sides."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmseg_balance.runtime.atomic_files import write_text
from mmseg_balance.statistics.class_statistics import ClassStatistics

TRAIN, DEV = 0, 1


def split_by_class(
    presence: np.ndarray, dev_ratio: float, groups: Sequence | None = None, seed: int = 0
) -> np.ndarray:
    r"""Choose development images so that each class is divided as the images are.

    Iterative stratification: of the classes with images left, the one with the fewest is taken;
    each group with it goes to the side that lacks most images of that class, compared with
    :math:`r_s \cdot n_c` (then most images at all, then by chance). Here two things are added.
    Groups, such as videos, stay together and count with all their images, large groups first. And
    where afterwards a side has no image of a class that two groups have, groups change sides, the
    smallest that help, one or two at a time, until none is missing or no such change helps.

    Convention: an image without a class is divided last, by the number of images alone.

    Args:
        presence: (num_images, C) bool, which classes each image has.
        dev_ratio: r of the development side, in (0, 1).
        groups: (num_images,) the group of each image, anything hashable; None: all alone.
        seed: decides between equals.

    Returns:
        (num_images,) bool, True for development. Which classes have images on one side only, say
        :func:`one_sided_classes`.

    Raises:
        ValueError: ``dev_ratio`` is out of range, or there are fewer than two groups.

    >>> presence = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [1, 1]], bool)
    >>> dev = split_by_class(presence, .4)
    >>> int(dev.sum()), int((dev & presence[:, 1]).sum())
    (2, 1)

    Reference: Sechidis, Tsoumakas, Vlahavas, *On the stratification of multi-label data*,
    ECML PKDD 2011, algorithm 1.
    """
    if not 0 < dev_ratio < 1:
        raise ValueError(f'dev_ratio must be in (0, 1), got {dev_ratio}')
    presence = np.asarray(presence, dtype=bool)
    names = np.arange(len(presence)) if groups is None else groups
    of_group = {name: k for k, name in enumerate(dict.fromkeys(np.asarray(names).tolist()))}
    owner = np.array([of_group[name] for name in np.asarray(names).tolist()], dtype=np.int64)
    if len(of_group) < 2:
        raise ValueError(
            f'{len(presence)} images in {len(of_group)} group cannot be divided; name smaller '
            'groups, or none'
        )
    counts = np.zeros((len(of_group), presence.shape[1]), dtype=np.int64)
    np.add.at(counts, owner, presence)
    sizes = np.bincount(owner)
    side = _stratify(counts, sizes, dev_ratio, np.random.default_rng(seed))
    _complete(counts, sizes, side)
    return side[owner] == DEV


def one_sided_classes(presence: np.ndarray, dev: np.ndarray) -> np.ndarray:
    """Classes that have images, but not both among training and development images."""
    presence = np.asarray(presence, dtype=bool)
    train_has, dev_has = presence[~dev].any(0), presence[dev].any(0)
    return np.flatnonzero(train_has != dev_has)


def _stratify(
    counts: np.ndarray, sizes: np.ndarray, dev_ratio: float, rng: np.random.Generator
) -> np.ndarray:
    """Assign every group (G, C) to a side, by iterative stratification."""
    ratios = np.array([1 - dev_ratio, dev_ratio])
    of_class = ratios[:, None] * counts.sum(0)  # images of each class that a side still lacks
    in_all = ratios * sizes.sum()  # images that a side still lacks
    side = np.full(len(counts), -1)
    chance = rng.random((len(counts), 2))

    def assign(group: int, lack: np.ndarray) -> None:
        chosen = max((TRAIN, DEV), key=lambda s: (lack[s], in_all[s], chance[group, s]))
        side[group] = chosen
        of_class[chosen] -= counts[group]
        in_all[chosen] -= sizes[group]

    left = counts.sum(0)
    while left.any():
        label = int(np.where(left > 0, left, np.iinfo(left.dtype).max).argmin())
        having = np.flatnonzero((side < 0) & (counts[:, label] > 0))
        for group in having[np.lexsort((chance[having, 0], -counts[having, label]))]:
            assign(group, of_class[:, label])
        left = counts[side < 0].sum(0)
    for group in np.flatnonzero(side < 0):
        assign(group, in_all)
    return side


def _complete(counts: np.ndarray, sizes: np.ndarray, side: np.ndarray) -> None:
    """Move groups, in place, until each class that two groups have is on both sides."""
    has = counts > 0
    possible = has.sum(0) >= 2

    def absent(groups_per_class: np.ndarray) -> np.ndarray:
        return possible & (groups_per_class <= 0)

    while True:
        on_side = np.stack([has[side == s].sum(0) for s in (TRAIN, DEV)])
        lacking = absent(on_side)
        best = (int(lacking.sum()), 0)
        moves: tuple[int, ...] = ()
        # Only a group with a missing class can help, alone or with one that goes along or back.
        for first in np.flatnonzero((has & lacking.any(0)).any(1)):
            step = _moved(side[first]) * has[first]
            train, dev = on_side[TRAIN] - step, on_side[DEV] + step
            alone = int(absent(train).sum() + absent(dev).sum()), int(sizes[first])
            steps = _moved(side)[:, None] * has
            pairs = absent(train - steps).sum(1) + absent(dev + steps).sum(1)
            pairs[first] = has.size  # there and back again
            second = int(np.lexsort((sizes, pairs))[0])
            both = int(pairs[second]), int(sizes[first] + sizes[second])
            for score, chosen in ((alone, (first,)), (both, (first, second))):
                if score[0] < lacking.sum() and (not moves or score < best):
                    best, moves = score, chosen
        if not moves:
            return
        for group in moves:
            side[group] = 1 - side[group]


def _moved(side: np.ndarray) -> np.ndarray:
    """How many groups development gains when a group of this side changes sides."""
    return np.where(side == TRAIN, 1, -1)


def presence_of(statistics: ClassStatistics) -> np.ndarray:
    """Return which classes each image has, (num_images, C) bool."""
    presence = np.zeros((statistics.num_images, statistics.num_classes), dtype=bool)
    presence[
        np.repeat(np.arange(statistics.num_images), statistics.classes_per_image),
        statistics.indices,
    ] = True
    return presence


def image_names(dataset) -> list[str]:
    """Return the names that ``ann_file`` of a ``BaseSegDataset`` takes, in its order."""
    if not hasattr(dataset, 'img_suffix') or 'img_path' not in getattr(dataset, 'data_prefix', {}):
        raise ValueError(
            f'{type(dataset).__name__} has no list of image names to divide; give a config whose '
            'train_dataloader.dataset is a plain BaseSegDataset'
        )
    folder = Path(dataset.data_prefix['img_path'])
    names = []
    for index in range(len(dataset)):
        path = Path(dataset.get_data_info(index)['img_path']).relative_to(folder).as_posix()
        names.append(path[: len(path) - len(dataset.img_suffix)])
    return names


def groups_of(names: Sequence[str], pattern: str | None) -> list[str]:
    r"""Return the group of each image: what a regular expression finds in its name.

    >>> groups_of(['a/0001TP_006690', 'a/0006R0_f00930'], r'/(\w+?)_')
    ['0001TP', '0006R0']

    Raises:
        ValueError: the pattern is no regular expression or finds nothing in a name.
    """
    if pattern is None:
        return list(names)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'{pattern!r} is not a regular expression: {error}') from error
    groups = []
    for name in names:
        found = compiled.search(name)
        if found is None:
            raise ValueError(f'the pattern {pattern!r} finds no group in the name {name!r}')
        groups.append(found.group(1) if compiled.groups else found.group())
    return groups


def write_split(names: Sequence[str], dev: np.ndarray, folder: Path) -> tuple[Path, Path]:
    """Write ``train.txt`` and ``dev.txt``, a name a line, as ``ann_file`` takes them."""
    paths = folder / 'train.txt', folder / 'dev.txt'
    for path, chosen in zip(paths, (~dev, dev), strict=True):
        taken = [name for name, take in zip(names, chosen, strict=True) if take]
        write_text(path, ''.join(f'{name}\n' for name in taken))
    return paths
