# SPDX-License-Identifier: Apache-2.0
"""Cityscapes (Cordts et al., 2016): leftImg8bit/{split}/{city}/*_leftImg8bit.png, gtFine/{split}/{city}/*_gtFine_labelIds.png.

Depth where disparity/{split}/{city}/*_disparity.png was unpacked too: disparity is (value - 1) / 256 pixels, 0 where the
stereo matcher found none (the data set's README).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.data_set import DataSet, LabelMap
from vltseg_core.data.file_pairs import LabelledFile, pair_files
from vltseg_core.data.image_files import read_png_16
from vltseg_core.errors import InputError
from vltseg_core.labels import CITYSCAPES_IDS

_IMAGE = "_leftImg8bit.png"
_BASELINE_M, _FOCAL_LENGTH_PX = 0.209313, 2262.52


def _files(root: Path, split: str) -> list[LabelledFile]:
    pairs = pair_files(root / "leftImg8bit" / split, root / "gtFine" / split, pattern=f"*/*{_IMAGE}", labels_of=_labels_of)
    disparities = root / "disparity" / split
    return [pair._replace(depth=_disparity(pair.image, disparities)) for pair in pairs] if disparities.is_dir() else pairs


def _labels_of(image: PurePosixPath) -> str:
    return str(image).removesuffix(_IMAGE) + "_gtFine_labelIds.png"


def _disparity(image: Path, disparities: Path) -> Path | None:
    path = disparities / image.parent.name / (image.name.removesuffix(_IMAGE) + "_disparity.png")
    return path if path.is_file() else None


def _read_depth(path: Path) -> NDArray[np.float32]:
    values = read_png_16(path)
    if values.ndim != 2:
        raise InputError(f"disparity file '{path}' has {values.shape[2]} channels, expected one of 16 bits: unpack it again")
    disparity_px = (values.astype(np.float32) - 1) / 256
    with np.errstate(divide="ignore"):
        depth_m = np.asarray(_BASELINE_M * _FOCAL_LENGTH_PX / disparity_px, np.float32)
    return _filled(depth_m, values == 0)


def _filled(depth_m: NDArray[np.float32], unknown: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Depth with its gaps closed: a gap is mostly background that one camera does not see, so it takes the farther of the
    nearest known depths to its left and right. A row without any is as the row above; above the first known one, infinite."""
    height, width = depth_m.shape
    columns = np.arange(width)[None]
    left = np.maximum.accumulate(np.where(unknown, -1, columns), axis=1)
    right = np.minimum.accumulate(np.where(unknown, width, columns)[:, ::-1], axis=1)[:, ::-1]
    walled = np.pad(np.where(unknown, np.float32(0), depth_m), ((0, 0), (1, 1)))  # beyond the picture nothing is far
    rows = np.arange(height)
    filled = np.maximum(walled[rows[:, None], left + 1], walled[rows[:, None], right + 1])
    known_above = np.maximum.accumulate(np.where(unknown.all(axis=1), -1, rows))
    return np.where(known_above[:, None] >= 0, filled[known_above], np.float32(np.inf))


CITYSCAPES_DATA = DataSet(
    name="cityscapes",
    credit="Cityscapes fine annotations (Cordts et al., 2016, non-commercial)",
    files=_files,
    splits=("train", "val"),
    label_map=LabelMap(CITYSCAPES_IDS),
    num_published={"train": 2975, "val": 500},
    withheld=("test",),
    read_depth=_read_depth,
)
