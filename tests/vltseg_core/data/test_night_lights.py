# SPDX-License-Identifier: Apache-2.0
"""Lamps at night: where their light falls, what hides them, and that streets differ."""

from __future__ import annotations

import numpy as np
import pytest

from vltseg_core.data.night_lights import Lamp, glare, lamps_of_a_street, light_on_surfaces

ORANGE = (1.0, 0.5, 0.1)
RAY_X, RAY_Y = (np.arange(-20, 21, dtype=np.float32) / 20)[None], (np.arange(-20, 21, dtype=np.float32) / 20)[:, None]


def ground() -> np.ndarray:
    """Depth [41, 41] of flat ground 1.5 m below the camera, endless above the horizon."""
    down = np.broadcast_to(np.where(RAY_Y > 0, RAY_Y, np.float32(np.nan)), (41, 41))
    return np.nan_to_num(1.5 / down, nan=np.inf).astype(np.float32)


def test_light_on_the_ground_is_that_of_its_distance_and_slant() -> None:
    lamp = Lamp((0.0, -4.5, 15.0), 0.2, ORANGE, 5.0, 9.0)
    light = light_on_surfaces([lamp], ground(), RAY_X, RAY_Y)
    for row, column in ((22, 20), (25, 30), (40, 20)):  # the first is at (0, 1.5, 15), right below the lamp
        z = 1.5 / RAY_Y[row, 0]
        to_lamp = np.array([RAY_X[0, column] * z, 1.5 + 4.5, z - 15.0])
        squared = to_lamp @ to_lamp + 1
        expected = 9.0 * (0.25 + 0.75 * 6.0 / np.sqrt(squared)) / squared
        assert light[row, column] == pytest.approx(expected * np.array(ORANGE), rel=1e-4)
    assert light[21:, 20, 0].argmax() == 1
    assert light[:20].max() < 1e-4  # endless


def test_lights_add_up_and_those_that_only_dazzle_light_nothing() -> None:
    first, second = Lamp((-5.0, -5.0, 12.0), 0.2, ORANGE, 5.0, 8.0), Lamp((5.0, -5.0, 20.0), 0.2, (1.0, 1.0, 1.0), 5.0, 8.0)
    dazzling = Lamp((1.0, 0.8, 10.0), 0.1, (1.0, 1.0, 1.0), 9.0, 0.0)
    together = light_on_surfaces([first, second, dazzling], ground(), RAY_X, RAY_Y)
    apart = sum(light_on_surfaces([lamp], ground(), RAY_X, RAY_Y) for lamp in (first, second))
    assert np.allclose(together, apart, rtol=1e-5)


def test_a_lamp_is_seen_at_its_place_unless_something_nearer_hides_it() -> None:
    lamp, free = Lamp((2.0, -2.0, 20.0), 0.5, ORANGE, 4.0, 1.0), np.full((100, 200), np.inf, np.float32)
    seen = glare([lamp], free, focal_px=200.0, horizon_px=50.0)
    rows, columns = np.nonzero(seen[..., 0])
    assert rows.mean() == pytest.approx(30, abs=1) and columns.mean() == pytest.approx(119.5, abs=1)
    assert seen[30, 119] == pytest.approx(4.0 * np.array(ORANGE), rel=1e-5)
    assert not glare([lamp], np.full_like(free, 8.0), 200.0, 50.0).any()
    assert not glare([lamp._replace(place=(90.0, 0.0, 20.0))], free, 200.0, 50.0).any()


def test_a_far_lamp_is_dimmer_and_still_seen() -> None:
    free = np.full((100, 200), np.inf, np.float32)
    near, far = (glare([Lamp((0.0, -1.0, z), 0.2, ORANGE, 4.0, 1.0)], free, 200.0, 50.0) for z in (20.0, 200.0))
    assert 0 < far.max() < 0.3 * near.max()


def test_some_streets_have_lamps_and_some_have_none() -> None:
    streets = [lamps_of_a_street(np.random.default_rng(seed)) for seed in range(60)]
    lit = [any(lamp.power for lamp in street) for street in streets]
    assert 30 < sum(lit) < 58
    assert all(lamp.place[2] > 0 for street in streets for lamp in street)
    assert lamps_of_a_street(np.random.default_rng(5)) == streets[5]
