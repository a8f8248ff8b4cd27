# SPDX-License-Identifier: Apache-2.0
"""Pinhole matrices [3, 3] in pixels of the data sets' cameras, and a plausible one where a data set tells none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Intrinsics(NamedTuple):
    """matrix: [3, 3] in pixels. origin: where it is from, in words."""

    matrix: NDArray[np.float64]
    origin: str


# Geiger et al., 2013: P_rect_02 (fx = fy, cx, cy) of the five days of recording, whose images differ in width and height
_KITTI = {
    (1242, 375): (721.5377, 609.5593, 172.8540),
    (1224, 370): (707.0493, 604.0814, 180.5066),
    (1238, 374): (718.3351, 600.3891, 181.5122),
    (1226, 370): (707.0912, 601.8873, 183.1104),
    (1241, 376): (718.8560, 607.1928, 185.2157),
}
_ASSUMED_FOCAL_WIDTHS = 0.9
"""A focal length of 0.9 image widths sees 58 degrees, as front cameras do."""


def intrinsics_of(data_set: str | None, image: Path | None, image_size: tuple[int, int]) -> Intrinsics:
    """The camera of an image of size (height, width), as its data set tells, else assumed."""
    height, width = image_size
    if data_set == "kitti" and (width, height) in _KITTI:
        focal, x, y = _KITTI[width, height]
        return Intrinsics(_matrix(focal, focal, x, y), "KITTI's calibration, by the image's size")
    if data_set == "cityscapes" and image is not None and (told := _cityscapes(image)):
        return told
    focal = _ASSUMED_FOCAL_WIDTHS * width
    return Intrinsics(_matrix(focal, focal, (width - 1) / 2, (height - 1) / 2), "assumed: focal length 0.9 image widths")


def _cityscapes(image: Path) -> Intrinsics | None:
    """What camera/{split}/{city}/*_camera.json says, where it was unpacked."""
    split, city = image.parents[1].name, image.parent.name
    name = image.stem.removesuffix("_leftImg8bit") + "_camera.json"
    file = image.parents[3] / "camera" / split / city / name
    try:
        told = json.loads(file.read_text("utf-8"))["intrinsic"]
        return Intrinsics(_matrix(told["fx"], told["fy"], told["u0"], told["v0"]), "Cityscapes' camera files")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _matrix(fx: float, fy: float, x: float, y: float) -> NDArray[np.float64]:
    return np.array([[fx, 0.0, x], [0.0, fy, y], [0.0, 0.0, 1.0]])
