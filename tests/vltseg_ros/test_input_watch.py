# SPDX-License-Identifier: Apache-2.0
"""What was found in the pictures is told for each camera, for as long as it matters."""

from __future__ import annotations

import numpy as np
import pytest

from vltseg_core.runtime.input_health import InputFinding
from vltseg_ros.input_watch import InputWatch

SOUND = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
DARK = np.zeros((64, 64, 3), np.uint8)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_camera_is_judged_by_itself_and_told_in_words(clock: Clock) -> None:
    watch = InputWatch(("front", "left"), clock=clock)
    assert watch.check("front", SOUND, 0.0).trust == 1.0
    assert watch.check("left", DARK, 0.0).trust == 0.0
    watch.check("left", SOUND, 5.0)
    assert watch.warnings("front") == []
    assert watch.warnings("left") == [f"{InputFinding.TOO_DARK.words}: 1 of 2 frames"]
    shown = watch.values("left")
    assert shown["frames checked"] == "2" and shown[f"found: {InputFinding.TOO_DARK.words}"] == "1"
    assert 100 < float(shown["brightness"]) < 150


def test_a_warning_ends_ten_seconds_after_the_last_bad_picture(clock: Clock) -> None:
    watch = InputWatch(("",), clock=clock)
    watch.check("", DARK, 0.0)
    clock.now_s += 9.9
    assert watch.warnings("")
    clock.now_s += 0.2
    assert watch.warnings("") == [] and watch.values("")["frames checked"] == "1"


def test_what_was_rejected_is_told_for_ten_seconds_and_counted_for_good(clock: Clock) -> None:
    watch = InputWatch(("front", "left"), clock=clock)
    for reason in ("step", "size", "step"):
        watch.note_rejected("front", reason)
    assert watch.warnings("front") == ["frames rejected, size: 1", "frames rejected, step: 2"] and watch.warnings("left") == []
    clock.now_s += 10.1
    assert watch.warnings("front") == [] and watch.values("front")["frames rejected"] == "3"


def test_a_camera_without_pictures_has_nothing_to_say(clock: Clock) -> None:
    assert InputWatch(("front",), clock=clock).values("front") == {"frames checked": "0", "frames rejected": "0"}
