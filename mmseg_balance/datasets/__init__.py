"""Data sets that MMSegmentation lacks; importing this package registers them."""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)

from mmseg_balance.datasets.camvid import CamVidDataset
from mmseg_balance.datasets.chase_db1_splits import ChaseDB1SplitsDataset
from mmseg_balance.datasets.clothing_co_parsing import ClothingCoParsingDataset
from mmseg_balance.datasets.named_splits import NamedSplitsDataset, Split
from mmseg_balance.datasets.sbd import SBDDataset
from mmseg_balance.datasets.street_scenes import StreetScenesDataset, write_street_scenes
from mmseg_balance.datasets.synthia import SynthiaDataset

__all__ = [
    'CamVidDataset',
    'ChaseDB1SplitsDataset',
    'ClothingCoParsingDataset',
    'NamedSplitsDataset',
    'SBDDataset',
    'Split',
    'StreetScenesDataset',
    'SynthiaDataset',
    'write_street_scenes',
]
