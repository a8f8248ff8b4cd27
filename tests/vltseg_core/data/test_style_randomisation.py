# SPDX-License-Identifier: Apache-2.0
"""Other styles and cameras: the same shapes in other colours, from the rng alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.data.style_randomisation import random_camera, random_style

Change = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def street() -> NDArray[np.uint8]:
    return DemoSequence(0, image_size=(120, 160)).frame(0).image


@pytest.mark.parametrize("change", [random_style, random_camera])
def test_a_picture_varies_with_the_rng_alone_and_the_input_stays(change: Change, street: NDArray[np.uint8]) -> None:
    before = street.copy()
    first, again = (change(street, np.random.default_rng(5)) for _ in range(2))
    assert first.shape == street.shape and first.dtype == np.uint8 and np.array_equal(first, again)
    assert len({change(street, np.random.default_rng(seed)).tobytes() for seed in range(12)}) > 8
    assert np.array_equal(street, before)


@pytest.mark.parametrize("change", [random_style, random_camera])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 64)])
def test_small_pictures_are_no_error(change: Change, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    for seed in range(12):
        assert change(image, np.random.default_rng(seed)).shape == image.shape


def test_a_style_changes_colours_and_keeps_edges_where_they_were(street: NDArray[np.uint8]) -> None:
    def edges(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        grey = image.astype(np.float32).mean(axis=2)
        steps = np.abs(np.diff(grey, axis=1))
        return steps > np.percentile(steps, 95)

    of_street = edges(street)
    hits, changes = [], []
    for seed in range(16):
        styled = random_style(street, np.random.default_rng(seed))
        hits.append(of_street[edges(styled)].mean())
        changes.append(np.abs(styled.astype(float) - street).mean())
    assert np.mean(hits) > 0.2  # by chance it would be 0.05
    assert np.mean(changes) > 15


def test_a_red_picture_keeps_red_and_blue_apart_through_jpeg() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    for seed in range(12):
        changed = random_camera(red, np.random.default_rng(seed)).mean((0, 1))
        assert changed[0] > 5 * max(changed[2], 1)
