# SPDX-License-Identifier: Apache-2.0
"""CamVid in SegNet's 11-class form (Brostow et al., 2009): {train,val}/{images,labels}, ids as `labels.CAMVID`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vltseg_core.data.labelled_images import (
    BUILDING_OR_WALL,
    PLANTS,
    SIGN_OR_LIGHT,
    TWO_WHEELER,
    VEHICLE,
    EvaluationSet,
    LabelledImage,
    pair_files,
    read_image,
    read_labels,
)
from vltseg_core.labels import CAMVID, CITYSCAPES, CITYSCAPES_TO_CAMVID, IGNORE

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


class CamVid:
    """One split's frames, in the order of their names.

    as_truth: codes are CamVid's own eleven ids, for measuring; otherwise label codes, for training.
    """

    def __init__(self, root: Path, split: str, *, as_truth: bool = False) -> None:
        self._pairs = pair_files(root / split / "images", root / split / "labels")
        self._lookup = np.full(256, IGNORE, np.uint8)
        for camvid_id, name in enumerate(CAMVID.names):
            self._lookup[camvid_id] = camvid_id if as_truth else _CODES[name]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> LabelledImage:
        image, labels = self._pairs[index]
        return LabelledImage(read_image(image), self._lookup[read_labels(labels)])


def evaluation_set(root: Path, split: str = "val") -> EvaluationSet:
    """One split to measure on, over CamVid's eleven classes."""
    return EvaluationSet(CamVid(root, split, as_truth=True), CAMVID.names, CITYSCAPES_TO_CAMVID)
