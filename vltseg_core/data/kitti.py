# SPDX-License-Identifier: Apache-2.0
"""KITTI semantic segmentation (Alhaija et al., 2018): {images,labels}, Cityscapes train ids.

The benchmark has no public validation split: every eighth frame, from the first on, is held out here.
"""

from __future__ import annotations

from pathlib import Path

from vltseg_core.data.data_set import TRAIN_IDS, DataSet, LabelMap
from vltseg_core.data.file_pairs import LabelledFile, hold_out, pair_files

HOLD_OUT_EVERY = 8


def _files(root: Path, split: str) -> list[LabelledFile]:
    return hold_out(pair_files(root / "images", root / "labels"), split, every=HOLD_OUT_EVERY)


KITTI = DataSet(
    name="kitti",
    credit="KITTI semantics (Alhaija et al., 2018, CC BY-NC-SA 3.0)",
    files=_files,
    splits=("train", "val"),
    label_map=LabelMap(TRAIN_IDS),
)
