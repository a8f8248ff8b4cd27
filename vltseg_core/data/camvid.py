# SPDX-License-Identifier: Apache-2.0
"""CamVid in SegNet's 11-class form (Brostow et al., 2009): {train,val,test}/{images,labels}, ids as `labels.CAMVID`.

Sequence 0001TP was driven at dusk, the others by day: splits train_day and train_dusk are train's two parts.
"""

from __future__ import annotations

from pathlib import Path

from vltseg_core.data.data_set import DataSet, LabelMap, lookup
from vltseg_core.data.file_pairs import LabelledFile, pair_files
from vltseg_core.data.labelled_images import BUILDING_OR_WALL, PLANTS, SIGN_OR_LIGHT, TWO_WHEELER, VEHICLE
from vltseg_core.labels import CAMVID, CITYSCAPES, CITYSCAPES_TO_CAMVID

_CODES = {
    "sky": CITYSCAPES.names.index("sky"),
    "building": BUILDING_OR_WALL,
    "pole": CITYSCAPES.names.index("pole"),
    "road": CITYSCAPES.names.index("road"),
    "pavement": CITYSCAPES.names.index("sidewalk"),
    "tree": PLANTS,
    "sign symbol": SIGN_OR_LIGHT,
    "fence": CITYSCAPES.names.index("fence"),
    "car": VEHICLE,
    "pedestrian": CITYSCAPES.names.index("person"),
    "bicyclist": TWO_WHEELER,
}


def _files(root: Path, split: str) -> list[LabelledFile]:
    folder, _, light = split.partition("_")
    pairs = pair_files(root / folder / "images", root / folder / "labels")
    lit = [pair._replace(condition="dusk" if pair.image.name.startswith("0001TP") else "day") for pair in pairs]
    return [pair for pair in lit if light in ("", pair.condition)]


CAMVID_DATA = DataSet(
    name="camvid",
    credit="CamVid train (Brostow et al., 2009)",
    files=_files,
    splits=("train", "val", "test", "train_day", "train_dusk"),
    label_map=LabelMap(
        codes=lookup({camvid_id: _CODES[name] for camvid_id, name in enumerate(CAMVID.names)}),
        truth_names=CAMVID.names,
        truth=lookup({camvid_id: camvid_id for camvid_id in range(len(CAMVID))}),
        to_truth=CITYSCAPES_TO_CAMVID,
    ),
)
