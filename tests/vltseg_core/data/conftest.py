# SPDX-License-Identifier: Apache-2.0
"""Miniature frames on disk, written as the data sets are packed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteFrame = Callable[..., np.ndarray]

_ALL_IDS = (
    "unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, road, sidewalk, parking, rail track, "
    "building, wall, fence, guard rail, bridge, tunnel, pole, polegroup, traffic light, traffic sign, vegetation, terrain, "
    "sky, person, rider, car, truck, bus, caravan, trailer, train, motorcycle, bicycle"
)
_IGNORED = (
    "unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, parking, rail track, guard rail, "
    "bridge, tunnel, polegroup, caravan, trailer"
)


@pytest.fixture
def write_frame() -> WriteFrame:
    """Writes an image and a label PNG with these raw values (palette: as colour indices); gives the image, RGB."""

    def write(image_path: Path, labels_path: Path, values: list[list[int]], *, palette: bool = False) -> np.ndarray:
        labels = np.array(values, np.uint8)
        seed = sum(image_path.name.encode())
        image = np.random.default_rng(seed).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
        for path in (image_path, labels_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(image_path)
        picture = Image.fromarray(labels)
        if palette:
            picture.putpalette(np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
        picture.save(labels_path)
        return image

    return write


@pytest.fixture
def cityscapes_ids() -> dict[int, str]:
    """The evaluated classes by their full id, from cityscapesScripts' labels.py."""
    return {number: name for number, name in enumerate(_ALL_IDS.split(", ")) if name not in _IGNORED.split(", ")}
