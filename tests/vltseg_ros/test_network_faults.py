# SPDX-License-Identifier: Apache-2.0
"""Whatever the network does, no wrong mask goes out and the node comes back or says why not. Over DDS, in its own process.

Each recovery's length is noted as a property of the test; docs/reliability.md shows them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition

from tests.vltseg_ros.camera import Camera, values
from tests.vltseg_ros.faulty_node import HANG_S, Command
from tests.vltseg_ros.node_processes import processes

TIMEOUT_S = 0.5


@pytest.fixture
def start(dds_domain: int, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the faulty node's process; what it prints lies in the file log."""
    command = [sys.executable, "-m", "tests.vltseg_ros.faulty_node", "--ros-args"]
    command += ["-p", f"inference_timeout_s:={TIMEOUT_S}", "-p", "diagnostics_period_s:=0.1"]
    with processes(tmp_path / "log") as start_process:
        yield lambda *arguments: start_process([*command, *(word for argument in arguments for word in ("-p", argument))])


TRANSIENT = (
    # command, how many such frames, cause that frames are counted by, how many are lost, network reloads
    (Command.OUT_OF_MEMORY, 1, "out of memory", 1, 0),
    (Command.OUT_OF_MEMORY, 3, "out of memory", 3, 1),
    (Command.ERROR, 4, "error in the network", 4, 0),
    (Command.WRONG_SIZE, 1, "answer does not fit the image", 1, 0),
    (Command.WORKER_DIES, 1, "worker thread died", 1, 0),
    (Command.NOT_FINITE, 1, "scores are no finite numbers", 3, 1),
    (Command.DEVICE_LOST, 1, "device lost", 1, 1),
    (Command.HANG, 1, "network hangs", 1, 1),
)


def num_received(camera: Camera) -> int:
    """How many frames the node says that it got."""
    return int(values(camera.status(lambda s: "frames in" in values(s)))["frames in"])


def test_faults_that_pass_cost_frames_and_nothing_else(
    start: Any, peer: Any, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    process = start()
    camera = Camera(peer)
    for command, num_frames, cause, num_lost, num_reloads in TRANSIENT:
        camera.find_node(60)
        num_in = num_received(camera)
        faulty = []
        for _ in range(num_frames):
            since_s = time.monotonic()
            faulty.append(camera.send(command))
            num_in += 1
            assert peer.spin_until(lambda n=num_in: num_received(camera) >= n, 10), command  # else the next frame would win
        camera.recover()
        took_s = time.monotonic() - since_s
        expected = {f"lost: {cause}": str(num_lost), "network reloads": str(num_reloads)}
        assert camera.status(lambda s, expected=expected: expected.items() <= values(s).items()), command
        assert not {mask.header.stamp.nanosec for mask in camera.masks} & set(faulty), command
        record_property("recovery", f"{command.name} x{num_frames}|{took_s:.2f}")
        assert camera.change_state(Transition.TRANSITION_DEACTIVATE) and camera.change_state(Transition.TRANSITION_ACTIVATE)
    assert peer.spin_until(lambda: False, HANG_S) is False  # the thread that hung wakes up with its answer
    assert camera.recover() and camera.wrong_masks() == []
    assert process.poll() is None and "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (Command.DEVICE_LOST_FOR_GOOD, "loading failed"),
        (Command.HANG_FOR_GOOD, "network hangs"),
    ],
)
def test_a_fault_for_good_ends_a_node_that_started_itself(
    start: Any, peer: Any, tmp_path: Path, command: Command, cause: str, record_property: Callable[[str, object], None]
) -> None:
    process = start()
    camera = Camera(peer)
    camera.find_node(60)
    since_s = time.monotonic()
    faulty = camera.send(command)
    peer.spin_until(lambda: False, 0.1)  # else the next frame would win
    while process.poll() is None:
        assert time.monotonic() - since_s < 30, (tmp_path / "log").read_text()
        camera.send()
        peer.spin_until(lambda: False, 0.05)
    record_property("recovery", f"{command.name}, exit code {process.returncode}|{time.monotonic() - since_s:.2f}")
    assert process.returncode == 1
    assert f"the network was given up after: {cause}" in (tmp_path / "log").read_text()
    errors = [s for s in camera.statuses if s.level == DiagnosticStatus.ERROR]
    assert errors and cause in errors[-1].message and values(errors[-1])["state"] == "unconfigured"
    assert [m for m in camera.masks if m.header.stamp.nanosec >= faulty] == [] and camera.wrong_masks() == []
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_managed_node_goes_through_error_processing_and_can_be_configured_again(start: Any, peer: Any) -> None:
    process = start("autostart:=false")
    camera = Camera(peer)
    camera.find_services()
    assert camera.change_state(Transition.TRANSITION_CONFIGURE) and camera.change_state(Transition.TRANSITION_ACTIVATE)
    camera.find_node()
    camera.send(Command.HANG_FOR_GOOD)
    for _ in range(200):
        if [s for s in camera.statuses if s.level == DiagnosticStatus.ERROR]:
            break
        peer.spin_until(lambda: False, 0.1)
        camera.send()
    status = camera.status(lambda s: s.level == DiagnosticStatus.ERROR)
    assert status.message.startswith("the network was given up after: network hangs")
    assert camera.state() == State.PRIMARY_STATE_UNCONFIGURED and process.poll() is None
    peer.spin_until(lambda: False, HANG_S)
    assert camera.wrong_masks() == []
    assert not camera.change_state(Transition.TRANSITION_ACTIVATE)
    assert camera.change_state(Transition.TRANSITION_CONFIGURE)
    assert camera.state() == State.PRIMARY_STATE_INACTIVE
    assert values(camera.status(lambda s: s.level == DiagnosticStatus.OK))["state"] == "inactive"
