# SPDX-License-Identifier: Apache-2.0
"""The check of a data set says what is there, what is missing and what is broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vltseg_core.data.check import check_data_set
from vltseg_core.data.data_sets import data_set
from vltseg_core.errors import ConfigurationError, InputError


@pytest.fixture
def acdc(tmp_path: Path, write_frame) -> Path:
    for condition, value in (("fog", 0), ("night", 10), ("rain", 0), ("snow", 255)):
        stem = f"{condition}/val/GP01/GP01_frame_000001"
        write_frame(tmp_path / f"rgb_anon/{stem}_rgb_anon.png", tmp_path / f"gt/{stem}_gt_labelTrainIds.png", [[value, value]])
    return tmp_path


def test_a_half_unpacked_data_set_is_described(acdc: Path) -> None:
    checked = check_data_set(data_set("acdc"), acdc)
    assert checked.splits["val"] == (4, 406, "", False) and checked.splits["val_night"] == (1, 106, "", False)
    assert checked.splits["train"].num_pairs == 0 and "fog/train' is missing" in checked.splits["train"].problem
    assert checked.num_read == 4 and checked.sizes == {"2x1": 4} and checked.broken == {}
    assert checked.conditions == {"fog": 1, "night": 1, "rain": 1, "snow": 1}
    shares = {share.name: (share.pixel_share, share.num_images) for share in checked.classes}
    assert shares["road"] == (2 / 3, 2) and shares["sky"] == (1 / 3, 1) and shares["car"] == (0, 0) and len(shares) == 19
    assert checked.annotated_share == 0.75
    assert not any(split.is_half for split in checked.splits.values())


def test_images_whose_labels_were_not_unpacked_make_a_split_half(acdc: Path) -> None:
    shutil.rmtree(acdc / "gt/snow")
    splits = check_data_set(data_set("acdc"), acdc).splits
    assert splits["val"].is_half and splits["val_snow"].is_half and not splits["val_fog"].is_half


def test_broken_files_are_named_and_the_others_counted(acdc: Path) -> None:
    image = acdc / "rgb_anon/fog/val/GP01/GP01_frame_000001_rgb_anon.png"
    image.write_bytes(image.read_bytes()[:-5])
    checked = check_data_set(data_set("acdc"), acdc, split="val")
    assert list(checked.broken) == [str(image)] and "cut off" in checked.broken[str(image)] and checked.sizes == {"2x1": 3}
    assert json.loads(json.dumps(checked.as_json()))["broken"] == checked.broken


def test_a_split_that_cannot_be_used_is_an_error_when_it_is_asked_for(acdc: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fog/train' is missing"):
        check_data_set(data_set("acdc"), acdc, split="train")
    with pytest.raises(ConfigurationError, match="withheld"):
        check_data_set(data_set("acdc"), acdc, split="test")
    with pytest.raises(InputError, match="leftImg8bit/train' is missing"):
        check_data_set(data_set("cityscapes"), tmp_path)
