"""The Semantic Boundaries Dataset as a data set of its own."""

from mmseg.datasets import BaseSegDataset, PascalVOCDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class SBDDataset(BaseSegDataset):
    """Semantic Boundaries Dataset, background and the 20 classes of Pascal VOC.

    Files, under ``data_root``: ``img/*.jpg``, ``labels/*.png``, ``train.txt`` (8498 names) and
    ``val.txt`` (2857). The release has its labels in MATLAB files:
    ``mmseg-balance convert_labels sbd data/sbd`` writes the PNGs.

    Reference: Hariharan et al., *Semantic contours from inverse detectors*, 2011.
    """

    METAINFO = PascalVOCDataset.METAINFO
