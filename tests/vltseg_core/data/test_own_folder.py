# SPDX-License-Identifier: Apache-2.0
"""A folder of one's own: classes.yaml says what the values mean, and every mistake in it is said with the way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vltseg_core.data.data_sets import data_set
from vltseg_core.data.labelled_images import CODE_MEMBERS, VEHICLE
from vltseg_core.errors import InputError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.labels import CITYSCAPES, IGNORE

OWN = data_set("folder")
TABLE = "0: road\n1: [bus, car, truck, train]\n2: ignore\n7: car\n200: sky\n"


def test_values_become_the_codes_that_the_table_says(tmp_path: Path, write_frame) -> None:
    (tmp_path / "classes.yaml").write_text(TABLE)
    image = write_frame(tmp_path / "train/images/a.png", tmp_path / "train/labels/a.png", [[0, 1, 2, 3, 7, 200]])
    labelled = OWN.training_images(tmp_path)[0]
    assert labelled.codes.tolist() == [[0, VEHICLE, IGNORE, IGNORE, 13, 10]] and np.array_equal(labelled.image, image)


def test_a_predicted_member_of_a_set_is_right_and_another_class_wrong(tmp_path: Path, write_frame) -> None:
    (tmp_path / "classes.yaml").write_text(TABLE)
    write_frame(tmp_path / "val/images/a.png", tmp_path / "val/labels/a.png", [[0, 1, 1, 1, 7, 200, 2]])
    val = OWN.evaluation_set(tmp_path)
    predicted = np.array(
        [[CITYSCAPES.names.index(n) for n in ("road", "car", "bus", "person", "truck", "sky", "pole")]], np.uint8
    )
    confusion = ConfusionMatrix(len(val.class_names))
    confusion.add(val.to_truth_classes[predicted], val.images[0].codes)
    iou = dict(zip(val.class_names, confusion.iou().tolist(), strict=True))
    assert iou["road"] == 1 and iou["sky"] == 1 and iou["car or truck or bus or train"] == 3 / 4
    assert set(val.mean_classes) == {"road", "sky", "car or truck or bus or train"}
    assert len(val.class_names) == 16


def test_a_table_of_single_classes_measures_the_nineteen(tmp_path: Path, write_frame) -> None:
    (tmp_path / "classes.yaml").write_text("\n".join(f"{i + 100}: {name}" for i, name in enumerate(CITYSCAPES.names)))
    write_frame(tmp_path / "val/images/a.png", tmp_path / "val/labels/a.png", [list(range(100, 120))])
    val = OWN.evaluation_set(tmp_path)
    assert val.class_names == CITYSCAPES.names == val.mean_classes
    assert val.images[0].codes.tolist() == [[*range(19), IGNORE]] and val.to_truth_classes[:19].tolist() == list(range(19))


def test_without_splits_every_eighth_frame_is_held_out(tmp_path: Path, write_frame) -> None:
    (tmp_path / "classes.yaml").write_text(TABLE)
    for number in range(9):
        write_frame(tmp_path / f"images/{number}.png", tmp_path / f"labels/{number}.png", [[0]])
    assert OWN.evaluation_set(tmp_path).frame_names == ("0", "8") and len(OWN.training_images(tmp_path)) == 7
    with pytest.raises(InputError, match="it has no test"):
        OWN.evaluation_set(tmp_path, "test")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, r"classes.yaml' is missing: write one with a line for each label value, such as '0: road'"),
        ("", "holds no table"),
        ("- road", "holds no table"),
        ("0: [road", "is no YAML"),
        ("0: roadd", "names the class 'roadd', which Cityscapes does not have: did you mean 'road'"),
        ("0: xyz", "choose from road, sidewalk"),
        (
            "0: [road, sky]",
            r"puts road or sky in one, expected one of these sets: building or wall; car or truck or bus or train;",
        ),
        ("300: road", "label value 300, expected a whole number from 0 to 255"),
        ("true: road", "label value True"),
        ("road: 0", "label value 'road'"),
    ],
)
def test_mistakes_in_the_table_are_said_with_the_way_out(table: str | None, message: str, tmp_path: Path, write_frame) -> None:
    write_frame(tmp_path / "train/images/a.png", tmp_path / "train/labels/a.png", [[0]])
    if table is not None:
        (tmp_path / "classes.yaml").write_text(table)
    with pytest.raises(InputError, match=message):
        OWN.training_images(tmp_path)


def test_every_set_that_codes_offer_can_be_written(tmp_path: Path, write_frame) -> None:
    sets = [[CITYSCAPES.names[i] for i in members] for members in CODE_MEMBERS]
    (tmp_path / "classes.yaml").write_text("\n".join(f"{i}: {names}" for i, names in enumerate(sets)))
    write_frame(tmp_path / "train/images/a.png", tmp_path / "train/labels/a.png", [list(range(len(sets)))])
    assert OWN.training_images(tmp_path)[0].codes.tolist() == [list(range(len(CODE_MEMBERS)))]


def test_a_folder_with_neither_layout_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(InputError, match=r"train/images' is missing, '.*' holds pictures/"):
        OWN.training_images(tmp_path)
