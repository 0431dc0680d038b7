"""Data sets that MMSegmentation lacks; importing this package registers them."""

from mmseg_balance.datasets.camvid import CamVidDataset
from mmseg_balance.datasets.sbd import SBDDataset
from mmseg_balance.datasets.street_scenes import StreetScenesDataset, write_street_scenes
from mmseg_balance.datasets.synthia import SynthiaDataset

__all__ = [
    'CamVidDataset',
    'SBDDataset',
    'StreetScenesDataset',
    'SynthiaDataset',
    'write_street_scenes',
]
