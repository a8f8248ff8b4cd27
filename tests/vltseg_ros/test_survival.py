# SPDX-License-Identifier: Apache-2.0
"""What rclpy raises on for a message or a request costs a line in the log, and not the node; and odd settings one sentence."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from lifecycle_msgs.msg import State
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rosgraph_msgs.msg import Clock

from tests.vltseg_ros.camera import Camera, values
from tests.vltseg_ros.node_processes import processes

FAULTY_NODE = [sys.executable, "-m", "tests.vltseg_ros.faulty_node", "--ros-args"]
NODE = [sys.executable, "-m", "vltseg_ros.node_command", "--ros-args"]


@pytest.fixture
def start(dds_domain: int, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the node with a stand-in for the network; what it prints lies in the file log."""
    with processes(tmp_path / "log") as start_process:
        yield lambda *words: start_process([*FAULTY_NODE, *words])


def set_parameter_of_no_type(peer: Any) -> None:
    client = peer.node.create_client(SetParameters, "/vltseg/set_parameters")
    assert client.wait_for_service(10)
    client.call_async(SetParameters.Request(parameters=[Parameter(name="min_confidence", value=ParameterValue(type=99))]))
    peer.spin_until(lambda: False, 0.5)


def test_a_parameter_of_a_type_that_there_is_not_is_survived(start: Any, peer: Any, tmp_path: Path) -> None:
    process, camera = start(), Camera(peer)
    camera.find_node(60)
    for _ in range(3):
        set_parameter_of_no_type(peer)
    camera.recover()
    log = (tmp_path / "log").read_text()
    assert "a callback failed: ValueError" in log and "Traceback" not in log
    expected = {"callbacks that failed": "3", "network reloads": "0"}
    status = camera.status(lambda s: expected.items() <= values(s).items())
    assert "a callback failed" in status.message and camera.state() == State.PRIMARY_STATE_ACTIVE
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_a_clock_below_zero_is_survived(start: Any, peer: Any) -> None:
    start("-p", "use_sim_time:=true")
    camera = Camera(peer)
    camera.find_node(60)
    publisher = peer.node.create_publisher(Clock, "/clock", 1)
    assert peer.spin_until(publisher.get_subscription_count)
    below_zero = Clock()
    below_zero.clock.sec = -1
    for _ in range(3):
        publisher.publish(below_zero)
        peer.spin_until(lambda: False, 0.1)
    camera.recover()
    assert camera.wrong_masks() == []


@pytest.mark.parametrize("pause_s", [0.02, 0.3])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_break_off_the_end(
    start: Any, peer: Any, tmp_path: Path, second: signal.Signals, pause_s: float
) -> None:
    process = start()
    Camera(peer).find_node(60)
    for number in (signal.SIGINT, second, second):
        if process.poll() is None:
            process.send_signal(number)
        time.sleep(pause_s)
    assert process.wait(20) == 0, (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("after_s", [0.4, 1.2])
def test_a_signal_while_the_node_is_imported_is_obeyed(dds_domain: int, tmp_path: Path, after_s: float) -> None:
    with processes(tmp_path / "log") as start_process:
        process = start_process(NODE)
        time.sleep(after_s)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)  # the latter before the first line of the node's own
        assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-p", "min_confidence:=1"), "a parameter cannot be what it was set to"),
        (("-p", "max_batch_size:=0"), "a parameter cannot be what it was set to"),
        (("-p", f"cameras:=['{'x' * 260}']"), "configure failed: "),
    ],
)
def test_a_setting_that_cannot_be_ends_the_node_with_a_sentence(
    start: Any, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    assert start(*words).wait(60) == 1
    log = (tmp_path / "log").read_text()
    assert sentence in log and "Traceback" not in log


def test_no_camera_named_is_the_one_without_a_name(start: Any, peer: Any, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("/**:\n  ros__parameters:\n    cameras: []\n")
    start("--params-file", str(settings))
    Camera(peer).find_node(60)
