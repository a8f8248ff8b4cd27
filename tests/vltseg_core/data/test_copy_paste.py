# SPDX-License-Identifier: Apache-2.0
"""Pasted things bring their pixels and their labels, and nothing but things is pasted."""

from __future__ import annotations

import numpy as np

from vltseg_core.data.copy_paste import THING_CODES, paste_things
from vltseg_core.data.labelled_images import CODE_NAMES, TWO_WHEELER, LabelledImage
from vltseg_core.labels import IGNORE

ROAD, POLE, SKY, CAR = 0, 5, 10, 13


def street(codes: list[int], *, level: int, depth_m: float | None = None) -> LabelledImage:
    """Columns of one code each, 4 rows high, of one grey."""
    columns = np.tile(np.array(codes, np.uint8), (4, 1))
    image = np.full((*columns.shape, 3), level, np.uint8)
    return LabelledImage(image, columns, None if depth_m is None else np.full(columns.shape, depth_m, np.float32))


def test_things_are_what_stands_on_the_ground() -> None:
    names = {CODE_NAMES[code] for code in THING_CODES}
    assert {"pole", "person", "bicycle", "rider or motorcycle or bicycle", "car or truck or bus or train"} <= names
    assert not names & {"road", "sidewalk", "building", "sky", "building or wall", "vegetation or terrain"}


def test_pixels_and_labels_come_together_and_only_those_of_things() -> None:
    target, source = street([ROAD] * 5, level=10), street([SKY, CAR, TWO_WHEELER, IGNORE, ROAD], level=200)
    chosen = set()
    for seed in range(20):
        pasted = paste_things(target, source, np.random.default_rng(seed))
        is_new = pasted.codes != ROAD
        assert np.array_equal(pasted.image[..., 0] == 200, is_new)
        assert np.array_equal(pasted.codes[is_new], source.codes[is_new])
        chosen.add(tuple(np.unique(pasted.codes[is_new])))
    assert chosen == {(CAR,), (TWO_WHEELER,)}  # one of the two kinds, now this, now that


def test_both_images_are_left_as_they_were_and_without_things_nothing_changes() -> None:
    target, source = street([ROAD, SKY], level=10), street([POLE, POLE], level=200)
    paste_things(target, source, np.random.default_rng(0))
    assert (target.image == 10).all() and (source.codes == POLE).all()
    bare = paste_things(target, street([SKY, ROAD], level=200), np.random.default_rng(0))
    assert np.array_equal(bare.image, target.image) and np.array_equal(bare.codes, target.codes)


def test_depth_is_kept_only_where_both_have_one() -> None:
    deep, flat = street([ROAD, CAR], level=10, depth_m=9.0), street([ROAD, CAR], level=10)
    pasted = paste_things(street([ROAD, ROAD], level=10, depth_m=5.0), deep, np.random.default_rng(0))
    assert pasted.depth_m is not None and pasted.depth_m[0].tolist() == [5.0, 9.0]
    assert paste_things(deep, flat, np.random.default_rng(0)).depth_m is None
    assert paste_things(flat, deep, np.random.default_rng(0)).depth_m is None
