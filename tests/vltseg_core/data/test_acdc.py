# SPDX-License-Identifier: Apache-2.0
"""ACDC in its own layout: a frame's condition is the folder that it lies in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vltseg_core.data.data_sets import data_set
from vltseg_core.errors import InputError
from vltseg_core.labels import IGNORE

ACDC = data_set("acdc")
CONDITIONS = ("fog", "night", "rain", "snow")


@pytest.fixture
def root(tmp_path: Path, write_frame) -> Path:
    for place, condition in enumerate(CONDITIONS):
        for split, num_frames in (("train", 2), ("val", 1)):
            for frame in range(num_frames):
                stem = f"{condition}/{split}/GOPR0{place}/GOPR0{place}_frame_{frame:06}"
                labels = tmp_path / f"gt/{stem}_gt_labelTrainIds.png"
                write_frame(tmp_path / f"rgb_anon/{stem}_rgb_anon.png", labels, [[place, 18, 19, 255]])
                labels.with_name(labels.name.replace("TrainIds", "Ids")).write_bytes(b"not asked for")
        twin = tmp_path / f"rgb_anon/{condition}/train_ref/GOPR0{place}/GOPR0{place}_frame_000000_ref.png"
        twin.parent.mkdir(parents=True)
        twin.write_bytes(b"clear weather, without labels")
    return tmp_path


def test_frames_come_with_their_condition_and_train_ids(root: Path) -> None:
    val = ACDC.evaluation_set(root)
    assert val.conditions == CONDITIONS
    assert [val.images[i].codes.tolist() for i in range(4)] == [[[i, 18, IGNORE, IGNORE]] for i in range(4)]
    assert val.frame_names[1] == "GOPR01_frame_000000_rgb_anon"
    assert len(ACDC.training_images(root)) == 8


def test_one_condition_is_a_split_of_its_own(root: Path) -> None:
    night = ACDC.training_images(root, "train_night")
    assert len(night) == 2 and {file.condition for file in night.files} == {"night"} and np.all(night[0].codes[0, 0] == 1)


def test_a_condition_that_was_not_unpacked_is_named(root: Path) -> None:
    (root / "gt/rain").rename(root / "gt/elsewhere")
    with pytest.raises(InputError, match=r"gt/rain/val' is missing, '.*gt' holds elsewhere/, fog/, night/, snow/"):
        ACDC.evaluation_set(root)
    assert len(ACDC.evaluation_set(root, "val_fog").images) == 1
