# SPDX-License-Identifier: Apache-2.0
"""Simulated time that stands, jumps and runs at any rate; what watches over the node goes by the steady clock."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from tests.vltseg_ros.camera import Camera, image_message, values
from tests.vltseg_ros.faulty_node import Command, FaultyNetworks
from vltseg_ros.segmentation_node import SegmentationNode
from vltseg_ros.sim_clock import SimClock

SECOND = 1_000_000_000


class Stage:
    """The active node on simulated time, a camera and the clock."""

    def __init__(self, node: SegmentationNode, peer: Any) -> None:
        self.node, self.peer = node, peer
        self.camera = Camera(peer)
        self.clock = SimClock(peer.node)

    def set_clock(self, seconds: float, rate: float = 0.0) -> None:
        """It is that time now; wait until the node knows."""
        self.clock.set(round(seconds * SECOND), rate)
        assert self.peer.spin_until(lambda: abs(self.now_s() - seconds) < 0.5 + 0.5 * rate, 5), self.now_s()

    def now_s(self) -> float:
        return float(self.node.get_clock().now().nanoseconds / SECOND)

    def answers(self, stamp_s: float, timeout_s: float = 5.0) -> bool:
        """Whether a frame with that stamp is answered."""
        before = len(self.camera.masks)
        message = image_message()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(stamp_s * SECOND), SECOND)
        self.camera.publisher.publish(message)
        return bool(self.peer.spin_until(lambda: len(self.camera.masks) > before, timeout_s))


@pytest.fixture
def stage(start_node: Callable[..., Any], peer: Any) -> Iterator[Stage]:
    networks = FaultyNetworks()
    arguments = ["use_sim_time:=true", "max_frame_age_s:=1.0", "inference_timeout_s:=1.0", "diagnostics_period_s:=0.1"]
    spinning = start_node(
        functools.partial(SegmentationNode, segmenter_factory=networks.load),
        [word for argument in arguments for word in ("-p", argument)],
    )
    for transition in (spinning.node.trigger_configure, spinning.node.trigger_activate):
        assert transition() == TransitionCallbackReturn.SUCCESS
    spinning.start()
    stage = Stage(spinning.node, peer)
    assert peer.spin_until(lambda: stage.answers(1.0), 10)  # no clock yet: it is zero o'clock, and no frame too old
    yield stage
    networks.is_released.set()


def test_too_old_is_by_the_simulated_clock_which_may_jump_back_and_forth(stage: Stage) -> None:
    for _ in range(3):  # a bag that is played in a loop
        for now_s in (100.0, 500.0):
            stage.set_clock(now_s)
            assert stage.answers(now_s - 0.5) and not stage.answers(now_s - 2.0, 0.5)
        assert stage.now_s() == 500.0
    shown = values(stage.camera.status(lambda s: True))
    assert shown["rejected: too old"] == "6"


def test_a_jump_back_leaves_no_negative_latency(stage: Stage) -> None:
    stage.set_clock(1000.0)
    assert stage.answers(999.9)
    stage.set_clock(10.0)
    for _ in range(20):
        assert stage.answers(999.9)  # under way when the clock jumped
    shown = values(stage.camera.status(lambda s: int(values(s)["frames out"]) >= 22))
    assert float(shown["latency stamp to mask, median (ms)"]) >= 0
    assert stage.answers(9.8) and not stage.answers(8.0, 0.5)


def test_while_the_clock_stands_frames_diagnostics_and_the_watchdog_go_on(stage: Stage) -> None:
    stage.set_clock(50.0)
    assert stage.answers(49.9) and stage.answers(49.9)
    start = time.monotonic()
    for _ in range(5):
        stage.camera.status(lambda s: True, 2)
    assert time.monotonic() - start < 3
    hanging = image_message(Command.HANG)
    hanging.header.stamp.sec = 50
    stage.camera.publisher.publish(hanging)
    status = stage.camera.status(lambda s: "last recovery" in values(s), 5)
    assert values(status)["lost: network hangs"] == "1"
    assert stage.answers(49.9, 5) and stage.now_s() == 50.0


@pytest.mark.parametrize("rate", [0.1, 10.0])
def test_the_clock_may_run_slower_or_faster_than_time(stage: Stage, rate: float) -> None:
    oldest_s = 3.0 * max(rate, 1.0)  # on a busy machine a frame may take a while
    assert stage.node.set_parameters([Parameter("max_frame_age_s", value=oldest_s)])[0].successful
    start_s = time.monotonic()
    stage.set_clock(200.0, rate)
    while time.monotonic() < start_s + 1.5:
        assert stage.answers(stage.now_s(), 2)
        assert not stage.answers(stage.now_s() - 1.5 * oldest_s, 0.1)
    passed_s = stage.now_s() - 200.0
    assert 0.5 * 1.5 * rate < passed_s <= (time.monotonic() - start_s) * rate
