# SPDX-License-Identifier: Apache-2.0
"""Class tables and the maps between label spaces."""

from __future__ import annotations

import numpy as np

from vltseg_core.labels import CAMVID, CITYSCAPES, CITYSCAPES_TO_CAMVID, IGNORE


def test_train_ids_count_up_and_colours_differ() -> None:
    for table, num_classes in ((CITYSCAPES, 19), (CAMVID, 11)):
        assert [c.train_id for c in table.classes] == list(range(num_classes))
        assert len({c.colour for c in table.classes}) == num_classes


def test_colourise_paints_each_class_and_leaves_ignored_pixels_black() -> None:
    picture = CITYSCAPES.colourise(np.array([[0, 13], [18, IGNORE]], np.uint8))
    assert picture.tolist() == [[[128, 64, 128], [0, 0, 142]], [[119, 11, 32], [0, 0, 0]]]


def test_every_cityscapes_class_has_its_place_in_camvid() -> None:
    coarse = {CITYSCAPES.names[i]: CAMVID.names[CITYSCAPES_TO_CAMVID[i]] for i in range(19)}
    assert coarse["wall"] == "building" and coarse["bus"] == "car" and coarse["bicycle"] == "bicyclist"
    assert coarse["terrain"] == "tree" and coarse["traffic light"] == "sign symbol" and coarse["sidewalk"] == "pavement"
    assert set(coarse.values()) == set(CAMVID.names)
    assert (CITYSCAPES_TO_CAMVID[19:] == IGNORE).all()
