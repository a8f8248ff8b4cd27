# SPDX-License-Identifier: Apache-2.0
"""The launch file of the evaluation, run by ROS's own launch with a program in the command's place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("launch.actions", reason="ROS's launch is not installed (its wheels do not exist on PyPI)")

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
path, *given = sys.argv[1:]
arguments = [tuple(pair.split(":=")) for pair in given]
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=arguments)])
)
sys.exit(service.run())
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Launch with these arguments; the command in place of `vltseg` prints what it got and ends with this code."""

    def run(exit_code, *arguments):
        command = tmp_path / "lib" / "vltseg_ros" / "vltseg"
        command.parent.mkdir(parents=True)
        command.write_text(f'#!/bin/sh\necho "got: $*"\nexit {exit_code}\n')
        command.chmod(0o755)
        marker = tmp_path / "share/ament_index/resource_index/packages/vltseg_ros"
        marker.parent.mkdir(parents=True)
        marker.touch()
        monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
        monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
        path = str(ROOT / "launch" / "replay_evaluation.launch.py")
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, path, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
        )

    return run


def test_arguments_become_options_and_the_launch_ends_with_the_evaluation(start):
    ended = start(0, "bag:=drive one", "checkpoint:=tiny", "lossless:=true", "fail_under:=night=55")
    assert ended.returncode == 0, ended.stderr
    options = "--checkpoint tiny --lossless --fail-under night=55 --output bag_evaluation -- drive one"
    assert f"got: evaluate-bag {options}" in ended.stdout


def test_what_is_not_given_is_left_to_the_command(start):
    ended = start(0, "bag:=drive")
    assert "got: evaluate-bag --output bag_evaluation -- drive" in ended.stdout


def test_a_failed_evaluation_fails_the_launch(start):
    ended = start(2, "bag:=drive")
    assert ended.returncode == 1
    assert "vltseg evaluate-bag ended with exit code 2" in ended.stdout + ended.stderr


def test_a_bag_must_be_given(start):
    ended = start(0)
    assert ended.returncode == 1 and "got:" not in ended.stdout
