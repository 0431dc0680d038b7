"""CHASE_DB1 with a dev split by subject."""

from functools import partial
from typing import ClassVar

from mmseg.datasets import ChaseDB1Dataset
from mmseg.registry import DATASETS

from mmseg_balance.datasets.named_splits import NamedSplitsDataset, Split
from mmseg_balance.datasets.splits import of_subjects

_TWO_SUBJECTS = partial(of_subjects, subject=r'Image_(\d+)', held_out=('09', '10'))


@DATASETS.register_module()
class ChaseDB1SplitsDataset(NamedSplitsDataset):
    """Retinal vessels of CHASE_DB1, background and vessel, in the layout of MMSegmentation.

    Files: ``images/{training,validation}/Image_*.jpg`` and
    ``annotations/{training,validation}/Image_*_1stHO.png`` under ``data_root``.

    Splits: both eyes of a subject are in one split. ``split='dev'`` is the subjects 09 and 10
    (4 images), ``'train'`` the subjects 01 to 08 (16), ``'test'`` the subjects 11 to 14 of the
    folder ``validation`` (8). ``'official_train'`` is the folder ``training`` (20).

    Reference: Fraz et al., *An ensemble classification-based approach applied to retinal blood
    vessel segmentation*, IEEE Transactions on Biomedical Engineering 59(9), 2012.
    """

    METAINFO = ChaseDB1Dataset.METAINFO
    SPLITS: ClassVar = dict(
        train=Split('images/training', 'annotations/training', without=_TWO_SUBJECTS),
        dev=Split('images/training', 'annotations/training', only=_TWO_SUBJECTS),
        test=Split('images/validation', 'annotations/validation'),
        official_train=Split('images/training', 'annotations/training'),
    )

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '_1stHO.png', **kwargs
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
