"""Registries under this package's name, which MMEngine asks for where our configs are bases.

Everything is registered in MMSegmentation's registries. In a base that is named ``mmseg_balance::…``
MMEngine looks up every ``type`` here first; these registries are empty and lead on to theirs.
"""

import mmseg.registry
from mmengine.registry import Registry

REGISTRIES = [
    Registry(parent.name, parent=parent, scope='mmseg_balance', locations=['mmseg_balance'])
    for parent in vars(mmseg.registry).values()
    if isinstance(parent, Registry)
]
