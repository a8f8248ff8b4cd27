# SPDX-License-Identifier: Apache-2.0
"""Which cameras get a new subscription after failures, told by the steady clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from vltseg_ros import callback_failures
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
    monkeypatch.setattr(callback_failures, "_DEAF_S", 0.2)
    statistics, inputs = FrameStatistics(), Inputs("deaf", "heard")
    failures = CallbackFailures(ThrottledLog(lambda sentence: None, 5.0))

    def watch(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            statistics.count_received("heard")
            failures.renew_deaf(inputs, statistics)  # type: ignore[arg-type]  # stands in
            time.sleep(0.01)

    failures.note(ValueError("a bad request"), statistics)
    watch(0.15)
    statistics.count_received("deaf")
    failures.note(MemoryError("this one took the camera's message"), statistics)
    watch(0.1)
    assert inputs.renewed == []
    watch(0.25)
    assert inputs.renewed == ["deaf"]
    watch(0.3)
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
