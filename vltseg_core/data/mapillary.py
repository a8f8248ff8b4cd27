# SPDX-License-Identifier: Apache-2.0
"""Mapillary Vistas 1.2 (Neuhold et al., 2017): {training,validation}/images/*.jpg, labels/*.png with its 66 class ids.

Two published maps from its classes to the 19 of Cityscapes. `mapillary` is the one of HRDA (Hoyer et al., 2022), which
VLTSeg's numbers use; `mapillary_rein` is the one of Rein (Wei et al., 2024), which counts more ground as road and
sidewalk, and more poles and signs. Numbers by the one do not compare with numbers by the other. The 1.2 labels of the
2.0 release, {training,validation}/v1.2/labels, are found too.
"""

from __future__ import annotations

from pathlib import Path

from vltseg_core.data.data_set import DataSet, LabelMap, lookup
from vltseg_core.data.file_pairs import LabelledFile, pair_files
from vltseg_core.labels import CITYSCAPES

_HRDA = {
    "road": (13, 24, 41),
    "sidewalk": (2, 15),
    "building": (17,),
    "wall": (6,),
    "fence": (3,),
    "pole": (45, 47),
    "traffic light": (48,),
    "traffic sign": (50,),
    "vegetation": (30,),
    "terrain": (29,),
    "sky": (27,),
    "person": (19,),
    "rider": (20, 21, 22),
    "car": (55,),
    "truck": (61,),
    "bus": (54,),
    "train": (58,),
    "motorcycle": (57,),
    "bicycle": (52,),
}
_REIN = {
    **_HRDA,
    "road": (7, 8, 10, 13, 14, 23, 24),
    "sidewalk": (2, 9, 11, 15),
    "pole": (44, 45, 47),
    "traffic sign": (46, 49, 50),
}
_FOLDERS = {"train": "training", "val": "validation"}


def _files(root: Path, split: str) -> list[LabelledFile]:
    part = root / _FOLDERS[split]
    of_release_2 = part / "v1.2/labels"
    return pair_files(part / "images", of_release_2 if of_release_2.is_dir() else part / "labels")


def _mapillary(name: str, values: dict[str, tuple[int, ...]]) -> DataSet:
    codes = {value: CITYSCAPES.names.index(class_name) for class_name, ids in values.items() for value in ids}
    return DataSet(
        name=name,
        credit="Mapillary Vistas 1.2 (Neuhold et al., 2017, CC BY-NC-SA 4.0)",
        files=_files,
        splits=("train", "val"),
        label_map=LabelMap(lookup(codes)),
        num_published={"train": 18000, "val": 2000},
        withheld=("test",),
    )


MAPILLARY = _mapillary("mapillary", _HRDA)
MAPILLARY_REIN = _mapillary("mapillary_rein", _REIN)
