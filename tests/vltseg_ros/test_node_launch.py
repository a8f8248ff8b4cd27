# SPDX-License-Identifier: Apache-2.0
"""The node's launch file, run by ROS's own launch with a program in the node's place that says what it got."""

from __future__ import annotations

import pytest

pytest.importorskip("launch_ros.actions", reason="ROS's launch is not installed (its wheels do not exist on PyPI)")

from tests.vltseg_ros.launching import install, launch

NODE = """#!/bin/sh
echo "got: $*"
for argument; do case "$argument" in */launch_params_*) cat "$argument";; esac; done
"""


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Launch with these arguments; what the program in the node's place got."""
    install(tmp_path, "segmentation_node", NODE, monkeypatch)

    def run(*arguments, fails=False):
        ended = launch("vltseg", *arguments, cwd=tmp_path)
        assert ended.returncode == int(fails), ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    return run


def test_what_is_not_given_is_left_to_the_parameters_file(said, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("/**: {ros__parameters: {autostart: false}}")
    text = said(f"params_file:={own}")
    assert f"--params-file {own}" in text and "stop_with_parent: true" in text
    assert "autostart" not in text and "use_sim_time" not in text
    assert "/own.yaml" not in said("params_file:=")
    assert "params_file '/nowhere.yaml' is no file" in said("params_file:=/nowhere.yaml", fails=True)


def test_what_is_given_goes_over_it(said):
    text = said("autostart:=false", "use_sim_time:=true", "device:=cpu", "cameras:=front, left")
    assert "autostart: false" in text and "use_sim_time: true" in text and "device: cpu" in text
    assert "- front" in text and "- left" in text


def test_the_log_level_is_that_of_the_node_in_its_namespace(said):
    assert "--log-level a.front.vltseg:=debug" in said("namespace:=/a/front", "log_level:=debug")
    assert "--log-level vltseg:=info" in said()
    assert "--log-level robot.front.vltseg:=info" in said("ros_namespace:=robot", "namespace:=front")


def test_the_single_camera_s_topic_is_remapped_raw_and_compressed(said):
    text = said("image_topic:=/camera/image_raw")
    assert "-r image:=/camera/image_raw" in text and "-r image/compressed:=/camera/image_raw/compressed" in text
