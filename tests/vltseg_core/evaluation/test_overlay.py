# SPDX-License-Identifier: Apache-2.0
"""Overlays, captions and legends."""

from __future__ import annotations

import numpy as np
import pytest

from vltseg_core.errors import InputError
from vltseg_core.evaluation.overlay import blend, side_by_side, with_caption, with_legend
from vltseg_core.labels import CITYSCAPES, IGNORE

ROAD, CAR = CITYSCAPES.classes[0], CITYSCAPES.classes[13]


def test_blending_mixes_image_and_class_colour_by_opacity():
    image = np.full((2, 2, 3), 200, np.uint8)
    labels = np.array([[0, 13], [0, 0]], np.uint8)
    half = blend(image, labels, CITYSCAPES, opacity=0.5)
    np.testing.assert_allclose(half[0, 1], (200 + np.array(CAR.colour)) / 2, atol=1)
    np.testing.assert_array_equal(blend(image, labels, CITYSCAPES, opacity=0.0), image)
    np.testing.assert_array_equal(blend(image, labels, CITYSCAPES, opacity=1.0)[0, 0], ROAD.colour)


def test_pixels_without_a_class_keep_the_image():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(blend(image, np.full((4, 5), IGNORE, np.uint8), CITYSCAPES), image)


def test_image_and_labels_must_have_one_size():
    with pytest.raises(InputError, match=r"\(4, 5\).*\(5, 4\)"):
        blend(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), CITYSCAPES)


def test_panels_stand_in_a_row_with_white_between():
    left, right = np.zeros((3, 4, 3), np.uint8), np.full((3, 2, 3), 9, np.uint8)
    row = side_by_side([left, right], gap_px=2)
    assert row.shape == (3, 8, 3)
    assert (row[:, :4] == 0).all() and (row[:, 4:6] == 255).all() and (row[:, 6:] == 9).all()


def test_a_caption_goes_above_and_leaves_the_image_alone():
    image = np.full((10, 200, 3), 77, np.uint8)
    captioned = with_caption(image, "night, 1.20 s", height_px=24)
    assert captioned.shape == (34, 200, 3)
    np.testing.assert_array_equal(captioned[24:], image)
    assert captioned[:24].max() > 200  # there is writing


def test_the_legend_names_the_classes_that_occur_and_no_others():
    image = np.zeros((10, 300, 3), np.uint8)
    labels = np.array([[0, 13]], np.uint8)
    legend = with_legend(image, labels, CITYSCAPES)[10:].reshape(-1, 3)
    shown = {c.name for c in CITYSCAPES.classes if (legend == c.colour).all(axis=1).sum() > 30}
    assert shown == {"road", "car"}


def test_a_long_legend_breaks_into_rows():
    image = np.zeros((10, 160, 3), np.uint8)
    few = with_legend(image, np.array([[0]], np.uint8), CITYSCAPES)
    many = with_legend(image, np.arange(19, dtype=np.uint8)[None], CITYSCAPES)
    assert many.shape[1] == few.shape[1] == 160
    assert many.shape[0] > few.shape[0] + 60
