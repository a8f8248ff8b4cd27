# SPDX-License-Identifier: Apache-2.0
"""Settings that contradict each other are refused; the shipped file holds the defaults."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from vltseg_core.errors import ConfigurationError
from vltseg_ros.installed_files import installed_file
from vltseg_ros.parameters import NodeParameters


def test_the_shipped_file_holds_every_parameter_with_its_default() -> None:
    shipped = yaml.safe_load(installed_file("config/vltseg.yaml").read_text())["/**"]["ros__parameters"]
    assert {k: tuple(v) if isinstance(v, list) else v for k, v in shipped.items()} == dataclasses.asdict(NodeParameters())


def test_no_camera_name_means_one_camera_without_a_name() -> None:
    assert NodeParameters().camera_names == ("",)
    assert NodeParameters(cameras=("front", "side/left")).camera_names == ("front", "side/left")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"input_height": 512}, "set both, or leave both 0"),
        ({"cameras": ("front", "2nd")}, "'2nd' is no ROS name"),
        ({"cameras": ("front", "front")}, "name one camera twice"),
        ({"image_transport": "theora"}, "'theora' is not known: use raw, compressed"),
        ({"precision": "int4"}, "'int4' is not known"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        NodeParameters(**wrong)
