# SPDX-License-Identifier: Apache-2.0
"""Which cameras get a new subscription after failures, told by the steady clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from vltseg_ros import callback_failures, diagnostics
from vltseg_ros.callback_failures import CallbackFailures
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.throttled_log import ThrottledLog


class Inputs:
    """Stands in for the subscriptions; knows which were renewed."""

    def __init__(self, *cameras: str) -> None:
        self.by_camera = dict.fromkeys(cameras)
        self.renewed: list[str] = []

    def renew(self, camera: str) -> None:
        self.renewed.append(camera)


def test_a_camera_that_the_second_failure_left_deaf_is_renewed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 50.0
    clock = SimpleNamespace(monotonic=lambda: now_s)
    monkeypatch.setattr(callback_failures, "time", clock)
    monkeypatch.setattr(diagnostics, "time", clock)
    statistics, inputs = FrameStatistics(), Inputs("deaf", "heard")
    failures = CallbackFailures(ThrottledLog(lambda sentence: None, 5.0))

    def watch(num_tenths: int) -> None:
        nonlocal now_s
        for _ in range(num_tenths):
            statistics.count_received("heard")
            failures.renew_deaf(inputs, statistics)  # type: ignore[arg-type]  # stands in
            now_s += 0.1

    failures.note(ValueError("a bad request"), statistics)
    watch(8)
    statistics.count_received("deaf")
    now_s += 0.01
    failures.note(MemoryError("this one took the camera's message"), statistics)
    watch(5)
    assert inputs.renewed == []
    watch(12)
    assert inputs.renewed == ["deaf"]
    watch(20)
    assert inputs.renewed == ["deaf"], "once a failure"


def test_a_new_subscription_that_cannot_be_made_leaves_the_former(monkeypatch: pytest.MonkeyPatch) -> None:
    from vltseg_ros.camera_subscriptions import CameraSubscriptions

    class Node:
        is_full = False
        destroyed: list[Any] = []

        def resolve_topic_name(self, topic: str) -> str:
            return topic

        def create_subscription(self, *arguments: Any, **options: Any) -> object:
            if self.is_full:
                raise MemoryError
            return object()

        def destroy_subscription(self, subscription: object) -> None:
            self.destroyed.append(subscription)

    node = Node()
    inputs = CameraSubscriptions(node, ["front"], lambda *_: None, is_compressed=False)  # type: ignore[arg-type]  # stands in
    former = inputs.by_camera["front"]
    node.is_full = True
    with pytest.raises(MemoryError):
        inputs.renew("front")
    assert inputs.by_camera["front"] is former and node.destroyed == []
