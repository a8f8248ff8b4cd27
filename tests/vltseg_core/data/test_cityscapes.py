# SPDX-License-Identifier: Apache-2.0
"""Cityscapes in its own layout: city folders, full ids, disparity where it was unpacked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vltseg_core.data.data_sets import data_set
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.labels import CITYSCAPES, IGNORE

DATA = data_set("cityscapes")


def frame_paths(root: Path, city: str, number: int, split: str = "train") -> tuple[Path, Path]:
    stem = f"{split}/{city}/{city}_{number:06}_000019"
    return root / f"leftImg8bit/{stem}_leftImg8bit.png", root / f"gtFine/{stem}_gtFine_labelIds.png"


def test_cities_are_read_in_order_and_ids_become_the_published_train_ids(
    tmp_path: Path, write_frame, cityscapes_ids: dict[int, str]
) -> None:
    values = np.arange(256).reshape(8, 32)
    image = write_frame(*frame_paths(tmp_path, "aachen", 1), values.tolist())
    write_frame(*frame_paths(tmp_path, "zurich", 0), [[33]])
    (tmp_path / "gtFine/train/aachen/aachen_000001_000019_gtFine_instanceIds.png").write_bytes(b"not asked for")
    frames = DATA.training_images(tmp_path)
    assert [file.image.parent.name for file in frames.files] == ["aachen", "zurich"]
    assert np.array_equal(frames[0].image, image) and frames[1].codes.tolist() == [[18]]
    assert len(cityscapes_ids) == 19 and list(cityscapes_ids.values()) == list(CITYSCAPES.names)
    for value, code in zip(values.ravel().tolist(), frames[0].codes.ravel().tolist(), strict=True):
        assert code == (list(cityscapes_ids).index(value) if value in cityscapes_ids else IGNORE), value


def test_depth_follows_from_disparity_and_gaps_take_the_farther_side(tmp_path: Path, write_frame) -> None:
    road, sky = 7, 23
    image, labels = frame_paths(tmp_path, "aachen", 0)
    write_frame(image, labels, [[sky] * 4, [road, road, road, sky], [road] * 4])
    disparity = tmp_path / "disparity/train/aachen/aachen_000000_000019_disparity.png"
    disparity.parent.mkdir(parents=True)
    raw = [[0, 0, 0, 0], [1 + 256 * 10, 0, 1 + 256 * 20, 0], [0, 0, 0, 0]]
    cv2.imwrite(str(disparity), np.array(raw, np.uint16))
    at_10_px, at_20_px = 0.209313 * 2262.52 / 10, 0.209313 * 2262.52 / 20
    expected = [[np.inf] * 4, [at_10_px, at_10_px, at_20_px, np.inf], [at_10_px, at_10_px, at_20_px, at_20_px]]
    assert np.allclose(DATA.training_images(tmp_path)[0].depth_m, expected)


def test_without_disparity_there_is_no_depth(tmp_path: Path, write_frame) -> None:
    write_frame(*frame_paths(tmp_path, "aachen", 0), [[7]])
    assert DATA.training_images(tmp_path)[0].depth_m is None


def test_a_missing_half_is_said_with_what_was_found(tmp_path: Path, write_frame) -> None:
    with pytest.raises(InputError, match=r"leftImg8bit/train' is missing, '.*' holds nothing"):
        DATA.training_images(tmp_path)
    for number in range(3):
        write_frame(*frame_paths(tmp_path, "aachen", number), [[7]])
    with pytest.raises(InputError, match=r"leftImg8bit/val' is missing, '.*leftImg8bit' holds train/:"):
        DATA.evaluation_set(tmp_path)
    for number in (1, 2):
        frame_paths(tmp_path, "aachen", number)[1].unlink()
    with pytest.raises(InputError, match=r"2 of 3 images below .* the first 'aachen_000001_000019_leftImg8bit.png', which needs"):
        DATA.training_images(tmp_path)


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    for folder in ("leftImg8bit/train/aachen", "gtFine/train/aachen"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds no '\*/\*_leftImg8bit.png', but aachen/"):
        DATA.training_images(tmp_path)


def test_the_test_split_has_no_labels_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'test' are withheld by its makers: choose from train, val"):
        DATA.evaluation_set(tmp_path, "test")
