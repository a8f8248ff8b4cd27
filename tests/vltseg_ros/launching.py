# SPDX-License-Identifier: Apache-2.0
"""Runs a launch file of this package by ROS's own launch, in a process, with programs in the place of the installed ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def install(prefix: Path, name: str, script: str, monkeypatch) -> None:
    """Make `prefix` an installation of this package whose program of that name is a shell script."""
    program = prefix / "lib" / "vltseg_ros" / name
    marker = prefix / "share/ament_index/resource_index/packages/vltseg_ros"
    for folder in (program.parent, marker.parent, prefix / "share/vltseg_ros"):
        folder.mkdir(parents=True)
    program.write_text(script)
    program.chmod(0o755)
    marker.touch()
    (prefix / "share/vltseg_ros/config").symlink_to(ROOT / "config")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix))
    monkeypatch.setenv("ROS_LOG_DIR", str(prefix / "log"))


def launch(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run launch/NAME.launch.py with these arguments ("device:=cpu") to its end."""
    path = str(ROOT / "launch" / f"{name}.launch.py")
    command = [sys.executable, "-c", PROGRAM, path, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=cwd)
