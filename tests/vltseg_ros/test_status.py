# SPDX-License-Identifier: Apache-2.0
"""Levels that an operator understands, and a topic that tells late listeners too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile

from vltseg_ros.status import Findings, StatusTopic, status_of


@pytest.mark.parametrize(
    ("findings", "level"),
    [
        (Findings(), DiagnosticStatus.OK),
        (Findings(warnings=["camera front: blurred"]), DiagnosticStatus.WARN),
        (Findings(silent=["no frame on /left/image"]), DiagnosticStatus.WARN),
        (Findings(silent=["no frame on /image"], all_silent=True), DiagnosticStatus.STALE),
        (Findings(errors=["no backend"], warnings=["blurred"], silent=["a"], all_silent=True), DiagnosticStatus.ERROR),
    ],
)
def test_the_worst_finding_is_the_level(findings: Findings, level: bytes) -> None:
    assert status_of("/vltseg", findings, summary="active", values={}).level == level


def test_the_sentence_begins_with_the_worst() -> None:
    findings = Findings(errors=["no masks"], warnings=["blurred"], silent=["left is silent"])
    assert status_of("/vltseg", findings, summary="active", values={}).message == "no masks; left is silent; blurred"
    assert status_of("/vltseg", Findings(), summary="active", values={"device": "cpu"}).message == "active"
    assert status_of("/vltseg", Findings(), summary="active", values={"device": "cpu"}).hardware_id == "cpu"


def status(message: str, level: bytes = DiagnosticStatus.OK, state: str = "active") -> DiagnosticStatus:
    findings = Findings(errors=[message]) if level == DiagnosticStatus.ERROR else Findings()
    return status_of("/vltseg", findings, summary=message, values={"state": state, "memory (MB)": "5"})


def test_it_is_published_when_something_changes_and_latched(start_node: Callable[..., Any], peer: Any) -> None:
    node = start_node(lambda context: _Closable("vltseg", context=context)).node
    topic = StatusTopic(node)
    assert topic.update(status("active, 14.98 masks/s"))
    assert not topic.update(status("active, 15.02 masks/s"))
    assert topic.update(status("the worker ended", DiagnosticStatus.ERROR))
    assert topic.update(status("inactive", state="inactive"))
    got: list[DiagnosticStatus] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.node.create_subscription(DiagnosticStatus, "/vltseg/status", got.append, latched)
    assert peer.spin_until(lambda: got)
    assert got[-1].message == "inactive" and [pair.key for pair in got[-1].values] == ["state"]


class _Closable(LifecycleNode):
    def close(self) -> None:
        pass
