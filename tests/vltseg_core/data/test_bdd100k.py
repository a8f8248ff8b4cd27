# SPDX-License-Identifier: Apache-2.0
"""BDD100K's 10K subset in its own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vltseg_core.data.data_sets import data_set
from vltseg_core.labels import IGNORE


def test_jpegs_meet_their_masks_of_train_ids(tmp_path: Path, write_frame) -> None:
    bdd100k = data_set("bdd100k")
    values = np.arange(256).reshape(16, 16)
    masks = tmp_path / "labels/sem_seg/masks/val"
    image = write_frame(tmp_path / "images/10k/val/7d06fefd-f7be05a6.jpg", masks / "7d06fefd-f7be05a6.png", values.tolist())
    val = bdd100k.evaluation_set(tmp_path)
    assert val.images[0].codes.ravel().tolist() == [*range(19), *[IGNORE] * 237]
    assert val.images[0].image.shape == image.shape and val.frame_names == ("7d06fefd-f7be05a6",)
