# SPDX-License-Identifier: Apache-2.0
"""Ground truth folders and their label spaces."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vltseg_core.errors import InputError
from vltseg_core.labels import CAMVID, CITYSCAPES, IGNORE
from vltseg_ros.ground_truth import CAMVID_IDS, CITYSCAPES_TRAIN_IDS, LABEL_SPACES, SPACE_ENTRIES, LabelFolder, space_of_entries


def save(path, labels):
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)


def test_labels_are_found_by_name_and_unknown_ids_are_ignored(tmp_path):
    save(tmp_path / "a.png", [[0, 10, 11, 255]])
    folder = LabelFolder(tmp_path, CAMVID_IDS)
    np.testing.assert_array_equal(folder.labels("a"), [[0, 10, IGNORE, IGNORE]])
    assert folder.labels("b") is None
    folder.require_any(["b", "a"])


def test_palette_files_give_their_indexes(tmp_path):
    image = Image.fromarray(np.array([[3, 18]], np.uint8), mode="P")
    image.putpalette(list(CITYSCAPES.palette.ravel()))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(LabelFolder(tmp_path, CITYSCAPES_TRAIN_IDS).labels("a"), [[3, 18]])


def test_predictions_are_compared_in_the_space_of_the_truth():
    names = {c.name: c.train_id for c in CITYSCAPES.classes}
    camvid = {c.name: c.train_id for c in CAMVID.classes}
    for ours, theirs in [
        ("terrain", "tree"),
        ("truck", "car"),
        ("rider", "bicyclist"),
        ("traffic light", "sign symbol"),
    ]:
        assert CAMVID_IDS.from_cityscapes[names[ours]] == camvid[theirs]
    assert CAMVID_IDS.from_cityscapes[IGNORE] == IGNORE
    np.testing.assert_array_equal(CITYSCAPES_TRAIN_IDS.from_cityscapes, np.arange(256))


def test_truth_is_shown_in_the_colours_of_its_likes_in_the_overlays():
    shown = {c.name: c.colour for c in CAMVID_IDS.classes.classes}
    ours = {c.name: c.colour for c in CITYSCAPES.classes}
    likes = {"pavement": "sidewalk", "tree": "vegetation", "sign symbol": "traffic sign", "pedestrian": "person"}
    assert all(shown[theirs] == ours[like] for theirs, like in likes.items())
    assert all(shown[name] == ours[name] for name in ("sky", "building", "pole", "road", "fence", "car"))
    # and each class's like maps back to it
    colours = {c.colour: c.train_id for c in CITYSCAPES.classes}
    for semantic_class in CAMVID_IDS.classes.classes:
        assert CAMVID_IDS.from_cityscapes[colours[semantic_class.colour]] == semantic_class.train_id


def test_label_spaces_go_by_name():
    assert set(LABEL_SPACES) == {"camvid", "cityscapes_train_ids"}


def test_what_is_no_ground_truth_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no PNG files"):
        LabelFolder(tmp_path / "missing", CAMVID_IDS)
    save(tmp_path / "colours.png", np.zeros((2, 2, 3)))
    (tmp_path / "rubbish.png").write_bytes(b"rubbish")
    folder = LabelFolder(tmp_path, CAMVID_IDS)
    with pytest.raises(InputError, match="3 channels, expected one class id a pixel"):
        folder.labels("colours")
    with pytest.raises(InputError, match="cannot be read as labels"):
        folder.labels("rubbish")
    with pytest.raises(InputError, match=r"there is 'colours\.png'"):
        folder.require_any(["a", "b"])


@pytest.mark.parametrize(
    ("classes", "lookup"),
    [
        ('["a"]', "[" * 100_000),
        ("[" * 100_000, "[0]"),
        ("[1e999, null]", "[1e999]"),
        ('["\\ud800"]', str([0] * 19)),
        ('["a"]', str([0] * 18)),
    ],
)
def test_a_label_space_that_cannot_be_read_is_said_in_one_sentence(classes, lookup):
    entries = {"vltseg.label_space": "q\x1b[2J" + "q" * 100_000, **dict(zip(SPACE_ENTRIES[1:], (classes, lookup), strict=True))}
    with pytest.raises(InputError, match=r"is in label space 'q\?\[2Jqqq.*, expected one of cityscapes_train_ids") as caught:
        space_of_entries(entries)
    assert len(str(caught.value)) < 400
