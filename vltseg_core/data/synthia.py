# SPDX-License-Identifier: Apache-2.0
"""SYNTHIA-RAND-CITYSCAPES (Ros et al., 2016): RGB/NNNNNNN.png, GT/LABELS/NNNNNNN.png, Depth/Depth/NNNNNNN.png where unpacked.

Labels are 16-bit PNGs, the class in red, the instance in green. Sixteen of the 19 classes occur, and means are taken over
those. As for GTA5, split "train" is all 9,400 frames, as in the published results; "val" is every fiftieth, and
"train_without_val" the others. Depth is in centimetres, the same in all channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.data_set import DataSet, LabelMap, lookup
from vltseg_core.data.file_pairs import LabelledFile, hold_out, pair_files
from vltseg_core.data.image_files import read_png_16
from vltseg_core.labels import CITYSCAPES, IGNORE

HOLD_OUT_EVERY = 50

_RED = 2
_VALUES = {
    "road": 3,
    "sidewalk": 4,
    "building": 2,
    "wall": 21,
    "fence": 5,
    "pole": 7,
    "traffic light": 15,
    "traffic sign": 9,
    "vegetation": 6,
    "terrain": 16,
    "sky": 1,
    "person": 10,
    "rider": 17,
    "car": 8,
    "truck": 18,
    "bus": 19,
    "train": 20,
    "motorcycle": 12,
    "bicycle": 11,
}
_NEVER_SHOWN = ("terrain", "truck", "train")
SHOWN_CLASSES = tuple(name for name in CITYSCAPES.names if name not in _NEVER_SHOWN)
"""The 16 classes that its means are taken over."""


def _files(root: Path, split: str) -> list[LabelledFile]:
    pairs = pair_files(root / "RGB", root / "GT/LABELS")
    if (depth_folder := root / "Depth/Depth").is_dir():
        pairs = [pair._replace(depth=_if_there(depth_folder / pair.image.name)) for pair in pairs]
    return pairs if split == "train" else hold_out(pairs, split, every=HOLD_OUT_EVERY)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _read_labels(path: Path) -> NDArray[np.uint8]:
    values = read_png_16(path)
    classes = values if values.ndim == 2 else values[..., _RED]
    return np.asarray(np.minimum(classes, IGNORE), np.uint8)


def _read_depth(path: Path) -> NDArray[np.float32]:
    values = read_png_16(path)
    centimetres = values if values.ndim == 2 else values[..., _RED]
    return centimetres * np.float32(0.01)


SYNTHIA = DataSet(
    name="synthia",
    credit="SYNTHIA-RAND-CITYSCAPES (Ros et al., 2016, CC BY-NC-SA 3.0)",
    files=_files,
    splits=("train", "val", "train_without_val"),
    label_map=LabelMap(
        lookup({value: CITYSCAPES.names.index(name) for name, value in _VALUES.items()}),
        mean_classes=SHOWN_CLASSES,
    ),
    num_published={"train": 9400},
    read_labels=_read_labels,
    read_depth=_read_depth,
)
