# SPDX-License-Identifier: Apache-2.0
"""The launch file of the evaluation, run by ROS's own launch with a program in the command's place."""

from __future__ import annotations

import pytest

pytest.importorskip("launch.actions", reason="ROS's launch is not installed (its wheels do not exist on PyPI)")

from tests.vltseg_ros.launching import install, launch


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Launch with these arguments; the command in place of `vltseg` prints what it got and ends with this code."""

    def run(exit_code, *arguments):
        install(tmp_path, "vltseg", f'#!/bin/sh\necho "got: $*"\nexit {exit_code}\n', monkeypatch)
        return launch("replay_evaluation", *arguments, cwd=tmp_path)

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
