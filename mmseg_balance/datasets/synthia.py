"""SYNTHIA: rendered streets with labels, RAND-CITYSCAPES and the video sequences."""

import os.path as osp
from pathlib import PurePath

from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

# Labels in the files are one more than the index here; 0 is void.
CLASSES = (
    'sky',
    'building',
    'road',
    'sidewalk',
    'fence',
    'vegetation',
    'pole',
    'car',
    'traffic sign',
    'pedestrian',
    'bicycle',
    'motorcycle',
    'parking slot',
    'road work',
    'traffic light',
    'terrain',
    'rider',
    'truck',
    'bus',
    'train',
    'wall',
    'lane marking',
)
LABEL_FOLDER = ('GT', 'LABELS_8BIT')


@DATASETS.register_module()
class SynthiaDataset(BaseSegDataset):
    """SYNTHIA-RAND-CITYSCAPES (22 classes) or the SYNTHIA video sequences (13 of them).

    Under ``data_root`` lie the unpacked archives as they are. An image ``…/RGB/…/x.png`` has its
    labels in ``…/GT/LABELS_8BIT/…/x.png``; ``mmseg-balance convert_labels synthia
    data/synthia`` writes those from the 16-bit files of the release, which image libraries
    read differently. ``ann_file`` lists images relative to ``data_root``, without suffix; without
    it, every image below ``data_root`` is used.

    For the sequences give their 13 classes as ``metainfo=dict(classes=…)``, as
    ``configs/_base_/datasets/synthia.py`` does.

    Raises:
        ValueError: ``data_prefix`` names folders below ``data_root``, which are not looked at, or
            an image is in no folder ``RGB``.

    Reference: Ros et al., *The SYNTHIA dataset*, 2016.
    """

    METAINFO = dict(
        classes=CLASSES,
        palette=[
            [70, 130, 180],
            [70, 70, 70],
            [128, 64, 128],
            [244, 35, 232],
            [64, 64, 128],
            [107, 142, 35],
            [153, 153, 153],
            [0, 0, 142],
            [220, 220, 0],
            [220, 20, 60],
            [119, 11, 32],
            [0, 0, 230],
            [250, 170, 160],
            [128, 64, 64],
            [250, 170, 30],
            [152, 251, 152],
            [255, 0, 0],
            [0, 0, 70],
            [0, 60, 100],
            [0, 80, 100],
            [102, 102, 156],
            [102, 204, 102],
        ],
    )

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs) -> None:
        prefix = kwargs.get('data_prefix') or {}
        if kwargs.get('data_root') and any(prefix.values()):
            raise ValueError(
                f'data_prefix={prefix!r}: labels are found by the name of the image, and images below '
                'data_root; name the folder there and leave data_prefix out.'
            )
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images below the root with the labels that belong to them."""
        root = self.data_root or self.data_prefix['img_path']
        if self.ann_file:
            with open(self.ann_file) as lines:
                names = [line.strip() + self.img_suffix for line in lines if line.strip()]
        else:
            names = sorted(
                name
                for name in fileio.list_dir_or_file(
                    root, list_dir=False, suffix=self.img_suffix, recursive=True
                )
                if 'RGB' in PurePath(name).parts
            )
        return [
            dict(
                img_path=osp.join(root, name),
                seg_map_path=osp.join(root, label_path(name, self.seg_map_suffix)),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for name in names
        ]


def label_path(image: str, suffix: str = '.png') -> str:
    """Path of the labels of an image.

    >>> label_path('SYNTHIA-SEQS-01-SUMMER/RGB/Stereo_Left/Omni_F/000000.png')
    'SYNTHIA-SEQS-01-SUMMER/GT/LABELS_8BIT/Stereo_Left/Omni_F/000000.png'
    """
    path = PurePath(image)
    if 'RGB' not in path.parts:
        raise ValueError(
            f'the image {image!r} is in no folder RGB, beside which its labels would be; '
            'ann_file lists images relative to data_root.'
        )
    at = path.parts.index('RGB')
    return str(PurePath(*path.parts[:at], *LABEL_FOLDER, *path.parts[at + 1 :]).with_suffix(suffix))
