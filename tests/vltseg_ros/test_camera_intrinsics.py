# SPDX-License-Identifier: Apache-2.0
"""Cameras are the data set's own where it tells them, and said to be assumed where not."""

from __future__ import annotations

import json

import numpy as np

from vltseg_ros.camera_intrinsics import intrinsics_of


def test_kitti_tells_its_camera_by_the_image_size():
    camera = intrinsics_of("kitti", None, (375, 1242))
    assert camera.matrix[0, 0] == camera.matrix[1, 1] == 721.5377 and camera.matrix[1, 2] == 172.854
    assert "KITTI" in camera.origin and "assumed" in intrinsics_of("kitti", None, (300, 1000)).origin


def test_cityscapes_tells_its_camera_where_its_files_were_unpacked(tmp_path):
    image = tmp_path / "leftImg8bit" / "val" / "lindau" / "lindau_000000_000019_leftImg8bit.png"
    assert "assumed" in intrinsics_of("cityscapes", image, (1024, 2048)).origin
    file = tmp_path / "camera" / "val" / "lindau" / "lindau_000000_000019_camera.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"intrinsic": {"fx": 2268.36, "fy": 2225.54, "u0": 1048.64, "v0": 519.27}}))
    camera = intrinsics_of("cityscapes", image, (1024, 2048))
    np.testing.assert_array_equal(camera.matrix, [[2268.36, 0, 1048.64], [0, 2225.54, 519.27], [0, 0, 1]])
    assert camera.origin == "Cityscapes' camera files"


def test_an_assumed_camera_looks_at_the_middle():
    matrix = intrinsics_of(None, None, (101, 201)).matrix
    assert (matrix[0, 2], matrix[1, 2]) == (100, 50) and matrix[0, 0] == matrix[1, 1] > 100
