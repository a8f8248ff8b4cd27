# SPDX-License-Identifier: Apache-2.0
"""ROS 2 starts where a service manager gives next to no environment, and says in one sentence why it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

START = """
import os, pwd, sys, types, rclpy.logging
from vltseg_core.errors import ConfigurationError
from vltseg_ros.ros_installation import start_ros
pwd.getpwuid = lambda user: types.SimpleNamespace(pw_dir=os.environ["ENTRY"]) if "ENTRY" in os.environ else {}["no entry"]
try:
    start_ros(args=sys.argv)
except ConfigurationError as error:
    sys.exit(str(error))
print(rclpy.logging.get_logging_directory())
rclpy.shutdown()
"""


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that starts ROS 2, with no HOME unless it is given one, for a user whose home is ENTRY."""
    given = {name: value for name, value in os.environ.items() if name not in ("HOME", "ROS_HOME", "ROS_LOG_DIR")}
    return subprocess.run(
        [sys.executable, "-c", START, *arguments],
        env=given | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}])
def test_without_a_home_logs_go_where_the_user_s_home_is(environment: dict[str, str], tmp_path: Path) -> None:
    ended = start(ENTRY=str(tmp_path), **environment)
    assert (ended.returncode, ended.stdout.strip()) == (0, str(tmp_path / ".ros" / "log")), ended.stderr


@pytest.mark.parametrize("environment", [{"ROS_LOG_DIR": "/dev/null/logs"}, {"ROS_LOG_DIR": "/sys"}, {}])
def test_logs_that_cannot_be_written_are_said_with_what_to_do(environment: dict[str, str]) -> None:
    ended = start(**environment)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1, ended.stderr
    assert environment.get("ROS_LOG_DIR", "") in ended.stderr
    assert ended.stderr.endswith("; set ROS_LOG_DIR to a folder that can be written\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--params-file", "/nowhere/vltseg.yaml"], "--params-file /nowhere/vltseg.yaml"),
        (["-r", "image"], "-r image"),
        (["-p", "checkpoint:=\udcff"], "encode"),
        (["--unheard-of"], "unknown arguments ['--unheard-of']"),
    ],
)
def test_arguments_that_ros_refuses_are_one_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    ended = start("--ros-args", *arguments, HOME=str(tmp_path))
    *of_ros, sentence = ended.stderr.splitlines()
    assert ended.returncode == 1 and len(of_ros) <= 1 and "Traceback" not in ended.stderr
    assert sentence.startswith("ROS 2 could not start: ") and said in sentence and ".c:" not in sentence
