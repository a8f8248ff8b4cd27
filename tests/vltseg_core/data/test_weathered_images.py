# SPDX-License-Identifier: Apache-2.0
"""A data set under simulated weather: the labels stay, and every frame looks the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from vltseg_core.data import demo_images
from vltseg_core.data.labelled_images import LabelledImage
from vltseg_core.data.weather import simulate_weather
from vltseg_core.data.weathered_images import WeatheredImages
from vltseg_core.errors import ConfigurationError

CLEAR = demo_images.DemoImages(2, image_size=(60, 80))


def test_a_frame_is_the_weather_of_its_own_seed_with_the_data_sets_depth() -> None:
    foggy, clear = WeatheredImages(CLEAR, "fog", 4, seed=7)[1], CLEAR[1]
    rng = np.random.default_rng((7, 1))
    expected = simulate_weather(clear.image, "fog", severity=4, rng=rng, depth_m=clear.depth_m)
    assert np.array_equal(foggy.image, expected) and np.array_equal(foggy.codes, clear.codes)
    assert len(WeatheredImages(CLEAR, "fog", 4)) == 2


def test_frames_and_seeds_differ_and_repeat() -> None:
    grey = [LabelledImage(np.full((40, 60, 3), 120, np.uint8), np.zeros((40, 60), np.uint8))] * 2
    pictures = [WeatheredImages(grey, "night", 3, seed=seed)[i].image for seed, i in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert not np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])
    assert np.array_equal(pictures[0], pictures[3])


@pytest.mark.parametrize("condition", ["night", "fog", "rain", "snow"])
def test_each_severity_takes_every_frame_further(condition: str) -> None:
    clear = CLEAR[0].image.astype(int)
    change = [np.abs(WeatheredImages(CLEAR, condition, severity)[0].image - clear).mean() for severity in range(1, 6)]
    assert (np.diff(change) > 0).all()


def test_weather_that_there_is_not_is_refused_before_the_first_frame() -> None:
    with pytest.raises(ConfigurationError, match="severity 0"):
        WeatheredImages(CLEAR, "fog", 0)
    with pytest.raises(ConfigurationError, match="did you mean 'rain'"):
        WeatheredImages(CLEAR, "rian", 1)
