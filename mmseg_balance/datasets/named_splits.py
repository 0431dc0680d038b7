"""Data sets whose splits have a name: train, dev and test."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar

from mmseg.datasets import BaseSegDataset

Rule = Callable[[Collection[str]], set[str]]


@dataclass(frozen=True)
class Split:
    """A folder of images, and which of them belong to the split.

    Args:
        images: Folder of the images, below the data root.
        labels: Folder of the label maps, below the data root.
        without: Rule that holds out images; this split has the others.
        only: Rule that holds out images; this split has these.
    """

    images: str
    labels: str
    without: Rule | None = None
    only: Rule | None = None

    def members(self, names: Collection[str]) -> set[str]:
        """Return the names that belong to the split."""
        chosen = set(names)
        if self.without is not None:
            chosen -= self.without(names)
        if self.only is not None:
            chosen &= self.only(names)
        return chosen


class NamedSplitsDataset(BaseSegDataset):
    """A data set that knows its splits by name; a subclass lists them in ``SPLITS``.

    *Dev* is for every choice, *test* is scored once and reported; images of one video or subject
    are in one of *train* and *dev* as a rule in `mmseg_balance.datasets.splits` decides. A rule
    sees the path below the folder of images, without the suffix (``scene_1/0007``).

    Args:
        split: One of ``SPLITS``; None leaves the folders to `data_prefix`.
        data_prefix: As in MMSegmentation, without `split`.
        kwargs: The other arguments of `BaseSegDataset`.

    Raises:
        ValueError: `split` is unknown, or given together with `data_prefix` or `ann_file`.
    """

    SPLITS: ClassVar[dict[str, Split]] = {}

    def __init__(self, split: str | None = None, data_prefix: dict | None = None, **kwargs) -> None:
        self.split = split
        if split is not None:
            self._check_split(data_prefix, kwargs.get('ann_file'))
            data_prefix = dict(
                img_path=self.SPLITS[split].images, seg_map_path=self.SPLITS[split].labels
            )
        if data_prefix is not None:
            kwargs['data_prefix'] = data_prefix
        super().__init__(**kwargs)

    def _check_split(self, data_prefix: dict | None, ann_file: str | None) -> None:
        if self.split not in self.SPLITS:
            raise ValueError(
                f'split={self.split!r} is not allowed; {type(self).__name__} has '
                f'{sorted(self.SPLITS)}.'
            )
        if data_prefix or ann_file:
            given = f'data_prefix={data_prefix!r}' if data_prefix else f'ann_file={ann_file!r}'
            raise ValueError(
                f'split={self.split!r} names the images already, and {given} names '
                'others; leave one of them out (_delete_=True where a base config '
                'sets it).'
            )

    def load_data_list(self) -> list[dict]:
        """Return the images of the split, sorted by path."""
        images = super().load_data_list()
        if self.split is None:
            return images
        names = [self._name(image) for image in images]
        members = self.SPLITS[self.split].members(names)
        return [image for image, name in zip(images, names, strict=True) if name in members]

    def _name(self, image: dict) -> str:
        path = os.path.relpath(image['img_path'], self.data_prefix['img_path'])
        return path.removesuffix(self.img_suffix).replace(os.sep, '/')
