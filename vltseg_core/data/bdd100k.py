# SPDX-License-Identifier: Apache-2.0
"""BDD100K's 10K subset (Yu et al., 2020): images/10k/{split}/*.jpg, labels/sem_seg/masks/{split}/*.png with train ids."""

from __future__ import annotations

from pathlib import Path

from vltseg_core.data.data_set import TRAIN_IDS, DataSet, LabelMap
from vltseg_core.data.file_pairs import LabelledFile, pair_files


def _files(root: Path, split: str) -> list[LabelledFile]:
    return pair_files(root / "images/10k" / split, root / "labels/sem_seg/masks" / split)


BDD100K = DataSet(
    name="bdd100k",
    credit="BDD100K 10K semantic segmentation (Yu et al., 2020)",
    files=_files,
    splits=("train", "val"),
    label_map=LabelMap(TRAIN_IDS),
    num_published={"train": 7000, "val": 1000},
    withheld=("test",),
)
