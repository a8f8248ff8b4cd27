# SPDX-License-Identifier: Apache-2.0
"""Mapillary Vistas 1.2 in its own layout, with both maps from its 66 classes, by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vltseg_core.data.data_sets import data_set
from vltseg_core.labels import CITYSCAPES, IGNORE

_CLASSES = (
    "Bird, Ground Animal, Curb, Fence, Guard Rail, Barrier, Wall, Bike Lane, Crosswalk - Plain, Curb Cut, Parking, "
    "Pedestrian Area, Rail Track, Road, Service Lane, Sidewalk, Bridge, Building, Tunnel, Person, Bicyclist, Motorcyclist, "
    "Other Rider, Lane Marking - Crosswalk, Lane Marking - General, Mountain, Sand, Sky, Snow, Terrain, Vegetation, Water, "
    "Banner, Bench, Bike Rack, Billboard, Catch Basin, CCTV Camera, Fire Hydrant, Junction Box, Mailbox, Manhole, Phone Booth, "
    "Pothole, Street Light, Pole, Traffic Sign Frame, Utility Pole, Traffic Light, Traffic Sign (Back), Traffic Sign (Front), "
    "Trash Can, Bicycle, Boat, Bus, Car, Caravan, Motorcycle, On Rails, Other Vehicle, Trailer, Truck, Wheeled Slow, Car Mount, "
    "Ego Vehicle, Unlabeled"
)
CLASSES = _CLASSES.split(", ")
"""In order of their ids, from the release's config.json."""

HRDA = {
    **{name: name.lower() for name in CLASSES if name.lower() in CITYSCAPES.names},
    **{"Lane Marking - General": "road", "Manhole": "road", "Curb": "sidewalk", "Utility Pole": "pole"},
    **{"Traffic Sign (Front)": "traffic sign", "Bicyclist": "rider", "Motorcyclist": "rider", "Other Rider": "rider"},
    "On Rails": "train",
}
REIN = {
    **{name: meaning for name, meaning in HRDA.items() if name != "Manhole"},
    **dict.fromkeys(("Bike Lane", "Crosswalk - Plain", "Parking", "Service Lane", "Lane Marking - Crosswalk"), "road"),
    **{"Curb Cut": "sidewalk", "Pedestrian Area": "sidewalk", "Street Light": "pole"},
    **{"Traffic Sign Frame": "traffic sign", "Traffic Sign (Back)": "traffic sign"},
}


@pytest.mark.parametrize(("name", "meaning"), [("mapillary", HRDA), ("mapillary_rein", REIN)])
@pytest.mark.parametrize("labels", ["labels", "v1.2/labels"])
@pytest.mark.parametrize("palette", [True, False])
def test_every_class_is_what_the_map_says(
    name: str, meaning: dict[str, str], labels: str, palette: bool, tmp_path: Path, write_frame
) -> None:
    values = np.arange(256).reshape(16, 16)
    folder = tmp_path / "validation"
    write_frame(folder / "images/_0a.jpg", folder / labels / "_0a.png", values.tolist(), palette=palette)
    codes = data_set(name).evaluation_set(tmp_path).images[0].codes.ravel().tolist()
    assert len(CLASSES) == 66
    for class_name, code in zip(CLASSES, codes, strict=False):
        assert code == (CITYSCAPES.names.index(meaning[class_name]) if class_name in meaning else IGNORE), class_name
    assert set(codes[66:]) == {IGNORE}


def test_training_images_lie_in_training(tmp_path: Path, write_frame) -> None:
    write_frame(tmp_path / "training/images/a.jpg", tmp_path / "training/labels/a.png", [[55]])
    assert data_set("mapillary").training_images(tmp_path)[0].codes.tolist() == [[13]]
