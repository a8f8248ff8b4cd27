# SPDX-License-Identifier: Apache-2.0
"""The node as a process: it serves with the weights that come with the package, and ends as it should."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from tests.vltseg_ros.node_processes import processes
from vltseg_core.data.demo_scenes import DemoSequence

NODE = [sys.executable, "-m", "vltseg_ros.node_command", "--ros-args"]


@pytest.fixture
def node(dds_domain: int, tmp_path: Path) -> Iterator[Any]:
    """Starts the node's process; what it prints lies in the file log."""
    with processes(tmp_path / "log") as start_process:
        yield lambda *arguments: start_process([*NODE, *arguments])


def wait_for(text: str, log: Path, timeout_s: float = 90.0) -> None:
    end = time.monotonic() + timeout_s
    while text not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def test_a_street_is_segmented_by_the_installed_node(node: Any, peer: Any, tmp_path: Path) -> None:
    node("-r", "image:=/camera/image_raw")
    wait_for("active, listening to /camera/image_raw", tmp_path / "log")
    masks: list[Image] = []
    reliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    peer.node.create_subscription(Image, "/semantic/labels", masks.append, reliable)
    publisher = peer.node.create_publisher(Image, "/camera/image_raw", reliable)
    frame = DemoSequence(4_000_000).frame(20)
    message = Image(encoding="rgb8", height=360, width=480, step=1440, data=frame.image.tobytes())
    message.header.stamp.sec = 77

    def answered() -> bool:
        if not masks:
            publisher.publish(message)
            peer.spin_until(lambda: masks, 1.0)
        return bool(masks)

    assert peer.spin_until(answered, 40)
    labels = np.frombuffer(masks[0].data, np.uint8).reshape(360, 480)
    assert masks[0].header == message.header
    assert (labels == frame.labels).mean() > 0.5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_active_node_with_exit_code_0(node: Any, tmp_path: Path, number: signal.Signals) -> None:
    process = node()
    wait_for("active, listening", tmp_path / "log")
    process.send_signal(number)
    assert process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_weights_that_are_none_end_the_node_with_one_sentence(node: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "holiday.safetensors"
    wrong.write_text("no weights")
    process = node("-p", f"checkpoint:={wrong}")
    assert process.wait(90) == 1
    printed = (tmp_path / "log").read_text()
    assert f"checkpoint '{wrong}' is no safetensors file" in printed and "Traceback" not in printed


def test_a_parameters_file_that_is_not_there_ends_the_node_with_one_sentence(node: Any, tmp_path: Path) -> None:
    process = node("--params-file", str(tmp_path / "none.yaml"))
    assert process.wait(90) == 1
    printed = (tmp_path / "log").read_text()
    assert "error: ROS 2 could not start: " in printed and "none.yaml" in printed and "Traceback" not in printed


def test_without_ros_the_executable_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").write_text("raise ImportError('no rclpy here')")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from vltseg_ros.node_command import main; sys.exit(main())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ROS 2 is missing") and "Traceback" not in result.stderr
