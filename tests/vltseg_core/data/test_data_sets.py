# SPDX-License-Identifier: Apache-2.0
"""Miniature CamVid and KITTI folders, read to the pixel; what is missing is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vltseg_core.data.camvid import CAMVID_DATA
from vltseg_core.data.data_sets import DATA_SETS, data_set
from vltseg_core.data.kitti import KITTI
from vltseg_core.data.labelled_images import CODE_MEMBERS, VEHICLE
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.labels import CAMVID, CITYSCAPES, IGNORE


def write_pair(images: Path, labels: Path, stem: str, label_rows: list[list[int]]) -> None:
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    truth = np.array(label_rows, np.uint8)
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[..., 2] = 255  # red, as OpenCV writes it
    cv2.imwrite(str(images / f"{stem}.png"), picture)
    cv2.imwrite(str(labels / f"{stem}.png"), truth)


def test_camvid_gives_codes_for_training_and_its_own_ids_as_truth(tmp_path: Path) -> None:
    write_pair(tmp_path / "val/images", tmp_path / "val/labels", "b", [list(range(12))])
    write_pair(tmp_path / "val/images", tmp_path / "val/labels", "a", [[11] * 12])
    labelled = CAMVID_DATA.training_images(tmp_path, "val")[1]
    assert labelled.image[0, 0].tolist() == [255, 0, 0]
    meant = [{CITYSCAPES.names[i] for i in CODE_MEMBERS[c]} if c != IGNORE else set() for c in labelled.codes[0]]
    assert dict(zip(CAMVID.names, meant, strict=False)) == {
        "sky": {"sky"},
        "building": {"building", "wall"},
        "pole": {"pole"},
        "road": {"road"},
        "pavement": {"sidewalk"},
        "tree": {"vegetation", "terrain"},
        "sign symbol": {"traffic sign", "traffic light"},
        "fence": {"fence"},
        "car": {"car", "truck", "bus", "train"},
        "pedestrian": {"person"},
        "bicyclist": {"rider", "motorcycle", "bicycle"},
    }
    assert meant[11] == set()
    to_measure = CAMVID_DATA.evaluation_set(tmp_path)
    assert to_measure.images[1].codes[0].tolist() == [*range(11), IGNORE]
    for camvid_id, code in enumerate(labelled.codes[0][:11]):
        assert {int(to_measure.to_truth_classes[i]) for i in CODE_MEMBERS[code]} == {camvid_id}


def test_kitti_holds_out_every_eighth_frame(tmp_path: Path) -> None:
    for number in range(17):
        write_pair(tmp_path / "images", tmp_path / "labels", f"{number:06}_10", [[number % 19, 255, 33]])
    assert [int(KITTI.training_images(tmp_path, "val")[i].codes[0, 0]) for i in range(3)] == [0, 8, 16]
    train = KITTI.training_images(tmp_path, "train")
    assert len(train) == 14 and train[0].codes.tolist() == [[1, IGNORE, IGNORE]]


def test_a_missing_folder_and_a_missing_label_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder '.*images' is missing"):
        KITTI.training_images(tmp_path, "train")
    write_pair(tmp_path / "images", tmp_path / "labels", "000000_10", [[0]])
    (tmp_path / "labels/000000_10.png").unlink()
    with pytest.raises(InputError, match=r"1 of 1 images below .* which needs '.*000000_10.png'"):
        KITTI.training_images(tmp_path, "train")


def test_a_broken_image_and_a_colour_label_are_said(tmp_path: Path) -> None:
    write_pair(tmp_path / "images", tmp_path / "labels", "000000_10", [[0]])
    (tmp_path / "images/000000_10.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"000000_10.png' is damaged, its 10 bytes are neither PNG nor JPEG"):
        KITTI.training_images(tmp_path, "val")[0]
    write_pair(tmp_path / "images", tmp_path / "labels", "000000_10", [[0]])
    cv2.imwrite(str(tmp_path / "labels/000000_10.png"), np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match=r"is of mode RGB, expected one 8-bit channel"):
        KITTI.training_images(tmp_path, "val")[0]


def test_every_vehicle_is_a_vehicle() -> None:
    assert {CITYSCAPES.names[i] for i in CODE_MEMBERS[VEHICLE]} == {"car", "truck", "bus", "train"}


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="unknown data set 'citiscapes': did you mean 'cityscapes'"):
        data_set("citiscapes")


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_data_set_names_its_splits_its_makers_and_the_folder_that_it_expects(name: str, tmp_path: Path) -> None:
    wanted = data_set(name)
    assert {"train", "val"} <= set(wanted.splits) and wanted.credit
    assert set(wanted.num_published) <= set(wanted.splits) and not set(wanted.withheld) & set(wanted.splits)
    for split in wanted.splits:
        with pytest.raises(InputError, match=r"folder '.*' is missing, '.*' holds nothing: give the folder"):
            wanted.training_images(tmp_path, split)
