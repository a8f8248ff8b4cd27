# SPDX-License-Identifier: Apache-2.0
"""SYNTHIA in its own layout: 16-bit labels, the class in red; depth in centimetres."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vltseg_core.data.data_sets import data_set
from vltseg_core.errors import InputError
from vltseg_core.labels import CITYSCAPES, IGNORE

SYNTHIA = data_set("synthia")
_README_CLASSES = (
    "void, sky, building, road, sidewalk, fence, vegetation, pole, car, traffic sign, person, bicycle, motorcycle, parking slot, "
    "road work, traffic light, terrain, rider, truck, bus, train, wall, lane marking"
)
README_CLASSES = _README_CLASSES.split(", ")
"""In order of their ids, as the data set's README has them (its pedestrian is Cityscapes' person)."""


def write_synthia(root: Path, classes: np.ndarray, depth_cm: np.ndarray | None = None, stem: str = "0000000") -> None:
    instances = np.full_like(classes, 60000)
    for folder in ("RGB", "GT/LABELS", "Depth/Depth"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / f"RGB/{stem}.png"), np.zeros((*classes.shape, 3), np.uint8))
    blue_green_red = np.stack([np.zeros_like(classes), instances, classes], axis=-1).astype(np.uint16)
    cv2.imwrite(str(root / f"GT/LABELS/{stem}.png"), blue_green_red)
    if depth_cm is not None:
        cv2.imwrite(str(root / f"Depth/Depth/{stem}.png"), np.stack([depth_cm] * 3, axis=-1).astype(np.uint16))


def test_every_id_becomes_the_class_of_its_name(tmp_path: Path) -> None:
    ids = np.array([[*range(23), 255, 256 + 3, 65535]], np.uint16)
    write_synthia(tmp_path, ids)
    codes = SYNTHIA.training_images(tmp_path)[0].codes[0].tolist()
    for name, code in zip(README_CLASSES, codes, strict=False):
        assert code == (CITYSCAPES.names.index(name) if name in CITYSCAPES.names else IGNORE), name
    assert codes[23:] == [IGNORE] * 3


def test_the_mean_is_over_the_sixteen_classes_that_occur(tmp_path: Path) -> None:
    write_synthia(tmp_path, np.array([[3]], np.uint16))
    measured = SYNTHIA.evaluation_set(tmp_path).mean_classes
    assert len(measured) == 16 and set(CITYSCAPES.names) - set(measured) == {"terrain", "truck", "train"}


def test_depth_is_in_metres_and_the_sky_without_end(tmp_path: Path) -> None:
    write_synthia(tmp_path, np.array([[3, 2, 1]], np.uint16), np.array([[250, 65535, 65535]]))
    assert np.allclose(SYNTHIA.training_images(tmp_path)[0].depth_m, [[2.5, 655.35, np.inf]])


def test_frames_whose_depth_was_not_unpacked_have_none(tmp_path: Path) -> None:
    write_synthia(tmp_path, np.array([[3]], np.uint16))
    assert SYNTHIA.training_images(tmp_path)[0].depth_m is None


def test_one_of_the_archives_broken_files_is_named(tmp_path: Path) -> None:
    for stem in ("0000000", "0000001"):
        write_synthia(tmp_path, np.full((8, 8), 3, np.uint16), stem=stem)
    broken = tmp_path / "GT/LABELS/0000001.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    images = SYNTHIA.training_images(tmp_path)
    assert (images[0].codes == 0).all()
    with pytest.raises(InputError, match=r"0000001.png' is damaged, cut off"):
        images[1]
