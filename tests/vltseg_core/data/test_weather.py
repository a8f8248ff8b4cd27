# SPDX-License-Identifier: Apache-2.0
"""Weather on any picture: each condition changes what it should, more with severity, and repeats itself."""

from __future__ import annotations

import numpy as np
import pytest

from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.data.weather import (
    WEATHER_CONDITIONS,
    add_sensor_noise,
    koschmieder_fog,
    road_scene_depth,
    simulate_weather,
)
from vltseg_core.errors import ConfigurationError, InputError


@pytest.fixture(scope="module")
def street() -> tuple[np.ndarray, np.ndarray]:
    frame = DemoSequence(21, image_size=(180, 240)).frame(4)
    return frame.image, frame.depth_m


@pytest.mark.parametrize("condition", WEATHER_CONDITIONS)
@pytest.mark.parametrize("with_depth", [True, False])
def test_the_picture_keeps_its_shape_and_the_input_its_values(
    condition: str, with_depth: bool, street: tuple[np.ndarray, np.ndarray]
) -> None:
    image, depth = street
    before = image.copy()
    changed = simulate_weather(image, condition, rng=np.random.default_rng(1), depth_m=depth if with_depth else None)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert np.array_equal(image, before)
    assert not np.shares_memory(changed, image)
    assert np.array_equal(changed, image) == (condition == "clear")


@pytest.mark.parametrize("condition", WEATHER_CONDITIONS)
def test_the_same_generator_gives_the_same_picture_and_another_one_another(
    condition: str, street: tuple[np.ndarray, np.ndarray]
) -> None:
    image, depth = street
    first, again, other = (simulate_weather(image, condition, rng=np.random.default_rng(s), depth_m=depth) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (condition == "clear")


@pytest.mark.parametrize("condition", ["night", "fog", "rain", "snow"])
def test_severity_takes_the_picture_further_from_the_clear_one(condition: str, street: tuple[np.ndarray, np.ndarray]) -> None:
    image, depth = street

    def change(severity: int) -> float:
        pictures = [
            simulate_weather(image, condition, severity=severity, rng=np.random.default_rng(s), depth_m=depth) for s in range(4)
        ]
        return float(np.mean([np.abs(p.astype(int) - image.astype(int)).mean() for p in pictures]))

    changes = [change(severity) for severity in range(1, 6)]
    assert (np.diff(changes) > 0).all()


def test_night_is_dark_and_its_sky_darker_than_the_road_before_the_car(street: tuple[np.ndarray, np.ndarray]) -> None:
    image, depth = street
    night = simulate_weather(image, "night", severity=4, rng=np.random.default_rng(0), depth_m=depth)
    assert night.mean() < 0.55 * image.mean()
    sky, road = np.isinf(depth), (depth > 6) & (depth < 15)
    assert (night[road].mean() / image[road].mean()) > (night[sky].mean() / image[sky].mean())


def test_fog_follows_koschmieder_to_rounding_and_ends_in_airlight() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4
    depth = np.array([[1, 10, 100, 1000, np.inf]] * 4, np.float32)
    foggy = koschmieder_fog(image, depth, visibility_m=100.0, airlight=(180.0, 190.0, 200.0))
    t = np.exp(-0.03912 * depth.astype(float))[..., None]
    expected = np.where(t > 0, image * t + np.array([180.0, 190.0, 200.0]) * (1 - t), np.array([180.0, 190.0, 200.0]))
    assert np.abs(foggy - expected).max() <= 0.51
    at_visibility = koschmieder_fog(
        np.zeros((1, 1, 3), np.uint8), np.full((1, 1), 100.0, np.float32), visibility_m=100.0, airlight=(250.0,) * 3
    )
    assert at_visibility[0, 0, 0] == round(250 * 0.98)


def test_sensor_noise_has_the_variance_asked_for() -> None:
    flat = np.full((300, 300, 3), 100, np.uint8)
    noise = add_sensor_noise(flat, np.random.default_rng(0), shot=0.4, read=3.0).astype(float) - 100
    assert noise.var() == pytest.approx(0.4 * 100 + 9.0, rel=0.05)


def test_assumed_depth_is_flat_ground_below_the_horizon_and_endless_where_it_is_bright_above() -> None:
    image = np.full((90, 160, 3), 60, np.uint8)
    image[:20, 40:120] = 230
    depth = road_scene_depth(image)
    assert depth.shape == (90, 160) and depth.dtype == np.float32
    assert (np.diff(depth[45:, 80]) <= 0).all()
    assert 2 < depth[-1, 80] < 8
    assert np.isinf(depth[:17, 43:117]).all()
    assert np.isfinite(depth[25:]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 5), (97, 131), (2160, 3840)])
@pytest.mark.parametrize("condition", WEATHER_CONDITIONS)
def test_tiny_odd_and_large_sizes_work(size: tuple[int, int], condition: str) -> None:
    image = np.full((*size, 3), 120, np.uint8)
    assert simulate_weather(image, condition, severity=5, rng=np.random.default_rng(0)).shape == image.shape


def test_bad_arguments_are_refused_with_what_to_do() -> None:
    image, rng = np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0)
    with pytest.raises(ConfigurationError, match="did you mean 'snow'"):
        simulate_weather(image, "snov", rng=rng)
    with pytest.raises(ConfigurationError, match="severity 6"):
        simulate_weather(image, "fog", severity=6, rng=rng)
    with pytest.raises(InputError, match="expected uint8"):
        simulate_weather(image.astype(np.float32), "fog", rng=rng)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(InputError, match=r"depth_m has shape \(4, 4\)"):
        simulate_weather(image, "fog", rng=rng, depth_m=np.ones((4, 4), np.float32))
