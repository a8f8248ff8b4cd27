# SPDX-License-Identifier: Apache-2.0
"""A node in this process with the stand-in, over real DDS topics."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn

from tests.vltseg_ros.segmentation_node.brightness import (
    RELIABLE,
    BrightnessSegmenter,
)
from vltseg_ros.segmentation_node import SegmentationNode


@pytest.fixture
def segmenter() -> BrightnessSegmenter:
    return BrightnessSegmenter()


@pytest.fixture
def start(start_node: Callable[..., Any], peer: Any, segmenter: BrightnessSegmenter) -> Callable[..., Any]:
    """Starts an active node with these ROS arguments."""

    def start_active(*ros_arguments: str, activate: bool = True) -> Any:
        build = functools.partial(SegmentationNode, segmenter_factory=segmenter.load)
        spinning = start_node(build, list(ros_arguments))
        if activate:
            assert spinning.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            assert spinning.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        spinning.start()
        peer.partner = spinning.node
        return spinning.node

    return start_active


@pytest.fixture
def diagnostics(peer: Any) -> Callable[[Callable[[DiagnosticStatus], bool]], DiagnosticStatus]:
    """Waits for a status for which something holds."""
    arrays: list[DiagnosticArray] = []
    peer.node.create_subscription(DiagnosticArray, "/diagnostics", arrays.append, RELIABLE)

    def wait(holds: Callable[[DiagnosticStatus], bool]) -> DiagnosticStatus:
        assert peer.spin_until(lambda: arrays and holds(arrays[-1].status[0]), 10), arrays and arrays[-1]
        return arrays[-1].status[0]

    return wait
