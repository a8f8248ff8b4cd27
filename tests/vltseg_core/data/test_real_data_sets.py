# SPDX-License-Identifier: Apache-2.0
"""The real CamVid and KITTI, where VLTSEG_CAMVID and VLTSEG_KITTI say where they lie."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from vltseg_core.data.check import check_data_set
from vltseg_core.data.data_sets import data_set


def folder(variable: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"{variable} does not say where the data set lies")
    return Path(os.environ[variable])


@pytest.mark.parametrize(("name", "common"), [("camvid", "road"), ("kitti", "vegetation")])
def test_every_file_can_be_read_and_shows_the_classes_of_a_street(name: str, common: str) -> None:
    checked = check_data_set(data_set(name), folder(f"VLTSEG_{name.upper()}"))
    assert checked.broken == {} and checked.num_read > 0 and checked.annotated_share > 0.9
    assert max(checked.classes, key=lambda share: share.pixel_share).name == common


def test_camvids_dusk_is_darker_than_its_day() -> None:
    root = folder("VLTSEG_CAMVID")
    day, dusk = (data_set("camvid").training_images(root, f"train_{light}") for light in ("day", "dusk"))
    brightness = [np.mean([images[i].image.mean() for i in range(0, len(images), 20)]) for images in (day, dusk)]
    assert brightness[1] < brightness[0]
