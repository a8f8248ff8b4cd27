# SPDX-License-Identifier: Apache-2.0
"""Any order of life: transitions at random while frames flow, and signals in every state, in the node's own process."""

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

from lifecycle_msgs.msg import State, Transition

from benchmarks import life_walk
from tests.vltseg_ros.camera import Camera
from tests.vltseg_ros.node_processes import processes

FAULTY_NODE = [sys.executable, "-m", "tests.vltseg_ros.faulty_node"]


@pytest.fixture
def start(dds_domain: int, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the node with a stand-in for the network; what it prints lies in the file log."""
    with processes(tmp_path / "log") as start_process:
        yield lambda *arguments: start_process(
            [*FAULTY_NODE, "--ros-args", *(word for argument in arguments for word in ("-p", argument))]
        )


def test_a_random_walk_over_the_lifecycle_leaves_nothing_behind(tmp_path: Path) -> None:
    seen = life_walk.run(FAULTY_NODE, num_steps=60, seed=4, rate_hz=60, log=tmp_path / "log")
    assert seen.wrong == [] and seen.wrong_masks == 0 and seen.masks > 0 and seen.exit_code == 0
    assert {name for name in seen.steps if ", refused" not in name} >= set(life_walk.TRANSITIONS)
    first, last = seen.left[0], seen.left[-1]
    assert last.step > 40 and last.subscriptions == first.subscriptions == 0
    assert last.threads <= first.threads + 1 and last.open_files <= first.open_files + 2
    assert last.memory_mb < first.memory_mb + 20


def configuring(camera: Camera) -> None:
    """Ask for a configuration that takes two seconds, and do not wait for it."""
    client = camera.peer.node.create_client(life_walk.ChangeState, "/vltseg/change_state")
    assert client.wait_for_service(10)
    camera.peer.spin_until(lambda: False, 0.5)
    request = life_walk.ChangeState.Request()
    request.transition.id = Transition.TRANSITION_CONFIGURE
    client.call_async(request)
    camera.peer.spin_until(lambda: False, 0.5)


def active_with_a_frame_in_hand(camera: Camera) -> None:
    """Frames are under way when the signal comes."""
    camera.change_state(Transition.TRANSITION_CONFIGURE)
    camera.change_state(Transition.TRANSITION_ACTIVATE)
    camera.find_node()
    for _ in range(5):
        camera.send()


STATES: dict[str, Callable[[Camera], object]] = {
    "unconfigured": lambda camera: camera.state(),
    "configuring": configuring,
    "inactive": lambda camera: camera.change_state(Transition.TRANSITION_CONFIGURE),
    "active": active_with_a_frame_in_hand,
    "finalized": lambda camera: camera.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN),
}


@pytest.mark.parametrize("state", STATES)
def test_signals_end_the_node_and_the_next_one_starts_at_once(start: Any, peer: Any, tmp_path: Path, state: str) -> None:
    camera = Camera(peer)
    checkpoint = "checkpoint:=slow:2.0" if state == "configuring" else "checkpoint:=tiny"
    kill = [(signal.SIGKILL, -signal.SIGKILL)] if state == "active" else []
    for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, 0), *kill):
        assert peer.spin_until(lambda: not peer.node.count_publishers("/diagnostics"))  # the one before is forgotten
        process = start("autostart:=false", checkpoint)
        camera.find_services()
        STATES[state](camera)
        assert process.poll() is None
        since_s = time.monotonic()
        process.send_signal(number)
        assert process.wait(20) == code, (tmp_path / "log").read_text()
        assert time.monotonic() - since_s < 10
    if state == "active":
        start()  # beside what is known of the killed one
        camera.recover(30)
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_autostart_loads_is_no_failure(start: Any, peer: Any, tmp_path: Path, number: signal.Signals) -> None:
    process = start("checkpoint:=slow:3.0")
    assert peer.spin_until(lambda: peer.node.count_publishers("/diagnostics"), 90)
    peer.spin_until(lambda: False, 0.5)
    process.send_signal(number)
    assert process.wait(20) == 0, (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_whose_network_never_loads(start: Any, peer: Any, tmp_path: Path, number: signal.Signals) -> None:
    process = start("checkpoint:=hang")
    assert peer.spin_until(lambda: peer.node.count_publishers("/diagnostics"), 90)
    peer.spin_until(lambda: False, 0.5)
    process.send_signal(number)
    assert process.wait(20) == 0, (tmp_path / "log").read_text()
    log = (tmp_path / "log").read_text()
    assert "the network hangs: it is left to itself" in log and "Traceback" not in log


def test_a_frame_in_hand_that_never_ends_does_not_keep_a_node_from_ending(start: Any, peer: Any, tmp_path: Path) -> None:
    """Nor from being deactivated, activated with a network loaded anew, and shut down."""
    from tests.vltseg_ros.faulty_node import Command

    process = start("inference_timeout_s:=0.0")
    camera = Camera(peer)
    camera.find_node(60)
    camera.send(Command.HANG)
    peer.spin_until(lambda: False, 0.2)
    assert camera.change_state(Transition.TRANSITION_DEACTIVATE) and camera.state() == State.PRIMARY_STATE_INACTIVE
    assert camera.change_state(Transition.TRANSITION_ACTIVATE)
    camera.recover()
    assert camera.wrong_masks() == []
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
