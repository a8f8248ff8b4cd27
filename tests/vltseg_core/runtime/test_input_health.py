# SPDX-License-Identifier: Apache-2.0
"""Degraded pictures are found, each under its name, and sound ones of every weather are not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vltseg_core.data.demo_images import FIRST_UNSEEN_SEED, DemoImages
from vltseg_core.data.demo_scenes import CONDITIONS, DemoSequence
from vltseg_core.runtime import Segmentation
from vltseg_core.runtime.input_health import InputFinding, InputHealth, InputReport, thumbnail_of, trusted

CAMVID = next((found for folder in Path(__file__).parents if (found := folder / "shared" / "camvid").is_dir()), None)
NUM_SCENES = 6
Picture = NDArray[np.uint8]


@cache
def scenes(condition: str) -> tuple[Picture, ...]:
    images = DemoImages(NUM_SCENES, first_seed=FIRST_UNSEEN_SEED, condition=condition)
    return tuple(images[i].image for i in range(NUM_SCENES))


def noisy(levels: NDArray[np.floating], deviation: float = 1.5) -> Picture:
    noise = np.random.default_rng(0).normal(0, deviation, levels.shape)
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


def exposed(picture: Picture, factor: float) -> Picture:
    return noisy(picture.astype(np.float32) * factor)


def blurred(picture: Picture, share_of_width: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[1] * share_of_width), np.uint8)


def behind_a_hand(picture: Picture) -> Picture:
    """A little of the light, all of the sharpness gone."""
    return noisy(60 + 0.08 * blurred(picture, 0.1).astype(np.float32))


def judged(picture: Picture) -> tuple[InputFinding, ...]:
    return InputHealth().check(picture, 0.0).findings


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize(
    ("degrade", "finding"),
    [
        (behind_a_hand, InputFinding.COVERED),
        (lambda p: exposed(p, 0.08), InputFinding.TOO_DARK),
        (lambda p: np.zeros_like(p), InputFinding.TOO_DARK),
        (lambda p: np.full_like(p, 255), InputFinding.OVER_EXPOSED),
        (lambda p: blurred(p, 0.02), InputFinding.BLURRED),
        (lambda p: blurred(p, 0.04), InputFinding.BLURRED),
    ],
)
def test_a_degraded_picture_is_found_in_every_condition(
    condition: str, degrade: Callable[[Picture], Picture], finding: InputFinding
) -> None:
    assert [judged(degrade(picture)) for picture in scenes(condition)] == [(finding,)] * NUM_SCENES


@pytest.mark.parametrize("condition", ["clear", "fog", "rain", "snow"])
def test_a_white_picture_by_day_is_over_exposed(condition: str) -> None:
    assert all(judged(exposed(picture, 10.0)) == (InputFinding.OVER_EXPOSED,) for picture in scenes(condition))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_sound_scenes_raise_no_alarm(condition: str) -> None:
    assert all(judged(picture) == () for picture in scenes(condition))


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("frame_rate_hz", [10.0, 15.0, 30.0])
def test_a_drive_raises_no_alarm(condition: str, frame_rate_hz: float) -> None:
    health, drive = InputHealth(), DemoSequence(FIRST_UNSEEN_SEED, condition=condition, frame_rate_hz=frame_rate_hz)
    assert all(health.check(drive.frame(i).image, i / frame_rate_hz).findings == () for i in range(8))


@pytest.mark.skipif(CAMVID is None, reason="CamVid does not come with the project: unpack it to shared/camvid beside it")
def test_camvid_raises_no_alarm() -> None:
    assert CAMVID is not None
    health = InputHealth()
    found = {}
    for number, path in enumerate(sorted(CAMVID.glob("*/images/*"))):
        found[path.name] = health.check(np.asarray(Image.open(path).convert("RGB")), float(number)).findings
    assert len(found) == 468 and {name: f for name, f in found.items() if f} == {}


def repeated(picture: Picture, num_pictures: int, rate_hz: float) -> InputReport:
    health = InputHealth()
    reports = [health.check(picture, i / rate_hz) for i in range(num_pictures)]
    return reports[-1]


def test_a_picture_that_stays_to_the_last_bit_is_frozen_after_a_second() -> None:
    picture = scenes("clear")[0]
    assert repeated(picture, 30, 30.0).findings == ()
    assert repeated(picture, 32, 30.0).findings == (InputFinding.FROZEN,)
    assert repeated(picture, 4, 0.5).findings == ()  # four pictures in six seconds may be a slow camera
    assert repeated(picture, 32, 30.0).trust == 0


def test_a_vehicle_that_stands_still_is_not_frozen() -> None:
    health, picture = InputHealth(), scenes("rain")[0].astype(np.float32)
    rng = np.random.default_rng(0)
    for i in range(60):
        seen = np.clip(picture + rng.normal(0, 0.5, picture.shape), 0, 255).astype(np.uint8)
        assert health.check(seen, i / 30).findings == ()


def test_a_thawed_camera_is_healthy_at_once() -> None:
    health, drive = InputHealth(), DemoSequence(FIRST_UNSEEN_SEED)
    for i in range(40):
        health.check(drive.frame(0).image, i / 30)
    assert health.check(drive.frame(1).image, 40 / 30).findings == ()


def test_another_street_within_a_tenth_of_a_second_is_a_sudden_change_once() -> None:
    health = InputHealth()
    first, second = (DemoSequence(FIRST_UNSEEN_SEED + i) for i in (0, 1))
    assert health.check(first.frame(0).image, 0.0).findings == ()
    assert health.check(second.frame(0).image, 0.1).findings == (InputFinding.SUDDEN_CHANGE,)
    assert health.check(second.frame(1).image, 0.2).findings == ()
    assert health.check(first.frame(0).image, 1.2).findings == ()  # after a pause nothing can be said


def test_light_that_changes_at_one_blow_is_a_sudden_change() -> None:
    health, picture = InputHealth(), scenes("clear")[0]
    health.check(picture, 0.0)
    assert InputFinding.SUDDEN_CHANGE in health.check(exposed(picture, 0.4), 0.05).findings


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (31, 640), (6, 8)])
def test_pictures_too_small_to_judge_are_trusted(size: tuple[int, int]) -> None:
    assert InputHealth().check(np.zeros((*size, 3), np.uint8), 0.0) == InputReport((), None)


@pytest.mark.parametrize("size", [(32, 32), (32, 8000), (8000, 33), (1080, 1920), (333, 77)])
def test_any_larger_size_is_judged_and_may_change_from_frame_to_frame(size: tuple[int, int]) -> None:
    health = InputHealth()
    health.check(scenes("clear")[0], 0.0)
    assert health.check(np.zeros((*size, 3), np.uint8), 0.05).findings == (InputFinding.TOO_DARK,)
    assert max(thumbnail_of(np.zeros((*size, 3), np.uint8)).shape) <= 160


def test_trust_scales_the_confidence_alone() -> None:
    result = Segmentation(np.array([[3, 4]], np.uint8), np.array([[200, 255]], np.uint8))
    halved = trusted(result, 0.5)
    assert halved.labels is result.labels and halved.confidence.tolist() == [[100, 128]]
    assert trusted(result, 0.0).confidence.tolist() == [[0, 0]] and trusted(result, 1.0) is result
