# SPDX-License-Identifier: Apache-2.0
"""The data sets by name."""

from __future__ import annotations

import difflib

from vltseg_core.data.acdc import ACDC
from vltseg_core.data.bdd100k import BDD100K
from vltseg_core.data.camvid import CAMVID_DATA
from vltseg_core.data.cityscapes import CITYSCAPES_DATA
from vltseg_core.data.data_set import DataSet
from vltseg_core.data.gta5 import GTA5
from vltseg_core.data.kitti import KITTI
from vltseg_core.data.mapillary import MAPILLARY, MAPILLARY_REIN
from vltseg_core.data.own_folder import OWN_FOLDER
from vltseg_core.data.synthia import SYNTHIA
from vltseg_core.errors import ConfigurationError

_SYNTHETIC = (GTA5, SYNTHIA)
_REAL = (CITYSCAPES_DATA, ACDC, BDD100K, MAPILLARY, MAPILLARY_REIN, KITTI, CAMVID_DATA)

DATA_SETS: dict[str, DataSet] = {data_set.name: data_set for data_set in (*_SYNTHETIC, *_REAL, OWN_FOLDER)}
"""Those that lie on disk; the drawn scenes of `demo_images` do not."""


def data_set(name: str) -> DataSet:
    """The data set of that name; ConfigurationError names the nearest where there is none."""
    if name not in DATA_SETS:
        nearest = difflib.get_close_matches(name, DATA_SETS, n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"choose one of {', '.join(DATA_SETS)}"
        raise ConfigurationError(f"unknown data set '{name}': {hint}")
    return DATA_SETS[name]
