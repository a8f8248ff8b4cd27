# SPDX-License-Identifier: Apache-2.0
"""ACDC (Sakaridis et al., 2021): rgb_anon/{condition}/{split}/{sequence}/*_rgb_anon.png, gt/ likewise with train ids.

The condition of a frame is the folder that it lies in. "train" and "val" are all four, "val_night" and so on one of them.
The clear-weather twins ({split}_ref) have no labels and are left alone.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from vltseg_core.data.data_set import TRAIN_IDS, DataSet, LabelMap
from vltseg_core.data.file_pairs import LabelledFile, pair_files

CONDITIONS = ("fog", "night", "rain", "snow")
_IMAGE = "_rgb_anon.png"


def _files(root: Path, split: str) -> list[LabelledFile]:
    part, _, condition = split.partition("_")
    return [file for name in CONDITIONS if condition in ("", name) for file in _in_condition(root, part, name)]


def _in_condition(root: Path, part: str, condition: str) -> list[LabelledFile]:
    folders = (root / kind / condition / part for kind in ("rgb_anon", "gt"))
    return [pair._replace(condition=condition) for pair in pair_files(*folders, pattern=f"*/*{_IMAGE}", labels_of=_labels_of)]


def _labels_of(image: PurePosixPath) -> str:
    return str(image).removesuffix(_IMAGE) + "_gt_labelTrainIds.png"


ACDC = DataSet(
    name="acdc",
    credit="ACDC (Sakaridis et al., 2021, non-commercial)",
    files=_files,
    splits=("train", "val", *(f"{part}_{condition}" for part in ("train", "val") for condition in CONDITIONS)),
    label_map=LabelMap(TRAIN_IDS),
    num_published={"train": 1600, "val": 406, "val_fog": 100, "val_night": 106, "val_rain": 100, "val_snow": 100},
    withheld=("test",),
)
