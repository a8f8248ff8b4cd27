# SPDX-License-Identifier: Apache-2.0
"""KITTI semantic segmentation (Alhaija et al., 2018): {images,labels}, Cityscapes train ids.

The benchmark has no public validation split: every eighth frame, from the first on, is held out here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage, pair_files, read_image, read_labels
from vltseg_core.labels import CITYSCAPES, IGNORE

HOLD_OUT_EVERY = 8


class Kitti:
    """The frames of split "train" or "val"."""

    def __init__(self, root: Path, split: str) -> None:
        pairs = pair_files(root / "images", root / "labels")
        self._pairs = [pair for i, pair in enumerate(pairs) if (i % HOLD_OUT_EVERY == 0) == (split == "val")]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> LabelledImage:
        image, labels = self._pairs[index]
        train_ids = read_labels(labels)
        return LabelledImage(read_image(image), np.where(train_ids < len(CITYSCAPES), train_ids, np.uint8(IGNORE)))


def evaluation_set(root: Path, split: str = "val") -> EvaluationSet:
    """The held-out frames to measure on, over the 19 Cityscapes classes."""
    return EvaluationSet(Kitti(root, split), CITYSCAPES.names, np.arange(256, dtype=np.uint8))
