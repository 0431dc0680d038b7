"""Clothing Co-Parsing, cut down to the 31 classes that at least 50 photographs have."""

from functools import partial
from typing import ClassVar

from mmseg.registry import DATASETS

from mmseg_balance.datasets.named_splits import NamedSplitsDataset, Split
from mmseg_balance.datasets.splits import every_nth

# fmt: off
CLASSES = (
    'null', 'accessories', 'bag', 'belt', 'blazer', 'blouse', 'boots', 'bracelet', 'coat',
    'dress', 'hair', 'hat', 'jacket', 'jeans', 'pants', 'purse', 'sandals', 'scarf', 'shirt',
    'shoes', 'shorts', 'skin', 'skirt', 'socks', 'stockings', 'suit', 'sunglasses', 'sweater',
    't-shirt', 'top', 'vest')
# fmt: on
_EVERY_FIFTH = partial(every_nth, n=5)


@DATASETS.register_module()
class ClothingCoParsingDataset(NamedSplitsDataset):
    """Photographs of people in the street, 31 classes of clothing; 255 is any other class.

    Files: ``images/{train,val}/*.jpg`` and ``labels/{train,val}/*.png`` under ``data_root``.

    Splits: ``split='dev'`` is every fifth training image (89), ``'train'`` the other 360,
    ``'test'`` the 150 of the folder ``val``. ``'official_train'`` is the folder ``train`` (449).
    Without `split`, `data_prefix` names the folders.

    Reference: Yang, Luo, Lin, *Clothing co-parsing by joint image segmentation and labeling*,
    CVPR 2014.
    """

    METAINFO = dict(classes=CLASSES)
    SPLITS: ClassVar = dict(
        train=Split('images/train', 'labels/train', without=_EVERY_FIFTH),
        dev=Split('images/train', 'labels/train', only=_EVERY_FIFTH),
        test=Split('images/val', 'labels/val'),
        official_train=Split('images/train', 'labels/train'),
    )
