# SPDX-License-Identifier: Apache-2.0
"""What the node's parameters ask of the segmenter, and what /diagnostics says of its images' sizes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from tests.vltseg_ros.stand_in_segmenter import StandInSegmenter
from vltseg_core.runtime.weights_path import weights_path
from vltseg_ros.diagnostics import describe_segmenter
from vltseg_ros.parameters import NodeParameters
from vltseg_ros.segmenter_loading import load_segmenter


def asked_for(**parameters: Any) -> dict[str, Any]:
    """The options with which a node of these parameters loads its segmenter."""
    options: dict[str, Any] = {}

    def load(checkpoint: str, **given: Any) -> Any:
        options.update(given, checkpoint=checkpoint)
        return StandInSegmenter()

    load_segmenter(NodeParameters(**parameters), load)
    return options


@pytest.mark.parametrize(("parameter", "option"), [(-1, None), (0, 0), (300_000, 300_000)])
@pytest.mark.parametrize("name", ["max_input_pixels", "window_px"])
def test_a_negative_number_leaves_the_checkpoint_s_own(name: str, parameter: int, option: int | None) -> None:
    assert asked_for(**{name: parameter})[name] == option
    assert asked_for()[name] is None


def test_engines_lie_in_the_user_s_folder_by_its_short_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/driver")
    assert asked_for(engine_cache="~/engines")["backend"].engine_cache == Path("/home/driver/engines")
    assert weights_path("~/a.safetensors") == Path("/home/driver/a.safetensors")


def test_an_input_size_is_asked_for_when_both_sides_are_given() -> None:
    assert asked_for()["input_size"] is None
    assert asked_for(input_height=360, input_width=640)["input_size"] == (360, 640)


@pytest.mark.parametrize(
    ("size", "limit", "shown"),
    [
        (None, 0, "the image's own"),
        (None, 518_400, "the image's own, at most 518400 pixels"),
        ((360, 640), 0, "640x360"),
    ],
)
def test_diagnostics_say_with_what_size_images_enter(size: tuple[int, int] | None, limit: int, shown: str) -> None:
    description = dataclasses.replace(StandInSegmenter().describe(), input_size=size, max_input_pixels=limit)
    assert describe_segmenter(description, 0)["input size"] == shown
