# SPDX-License-Identifier: Apache-2.0
"""GTA5 (Richter et al., "Playing for data", 2016): images/NNNNN.png, labels/NNNNN.png with full Cityscapes ids in a palette.

The published results that this project compares with train on all 24,966 frames, and so does split "train" here. The
authors' own split is a MATLAB file that those results do not use. To measure on GTA5 there is "val", every fiftieth frame:
right for a network that was trained elsewhere, or on "train_without_val"; after "train" it is a measure of fit alone.

Some label files of the release differ in size from their image: an InputError at that frame, not of the whole.
"""

from __future__ import annotations

from pathlib import Path

from vltseg_core.data.data_set import DataSet, LabelMap
from vltseg_core.data.file_pairs import LabelledFile, hold_out, pair_files
from vltseg_core.labels import CITYSCAPES_IDS

HOLD_OUT_EVERY = 50


def _files(root: Path, split: str) -> list[LabelledFile]:
    pairs = pair_files(root / "images", root / "labels")
    return pairs if split == "train" else hold_out(pairs, split, every=HOLD_OUT_EVERY)


GTA5 = DataSet(
    name="gta5",
    credit="GTA5 (Richter et al., 2016, for research and education)",
    files=_files,
    splits=("train", "val", "train_without_val"),
    label_map=LabelMap(CITYSCAPES_IDS),
    num_published={"train": 24966},
)
