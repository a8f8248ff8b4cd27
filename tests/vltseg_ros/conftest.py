# SPDX-License-Identifier: Apache-2.0
"""A DDS domain of its own for the tests, and a plain rclpy program to talk to the node with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402

from vltseg_ros.dds_environment import isolated_dds  # noqa: E402


@pytest.fixture
def dds_domain() -> Iterator[int]:
    """The id of a domain that nothing else is on; large images arrive in it."""
    with isolated_dds() as domain_id:
        yield domain_id


_SETTLING_S = 0.2


class Peer:
    """A program that is not ours: its own context, publishers, subscriptions and service clients."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, args=[])
        self.node = Node("peer", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def spin_until(self, done: Callable[[], Any], timeout_s: float = 10.0) -> bool:
        """Serve callbacks until `done` or the time is over; whether it was done."""
        end = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def call(self, service_type: Any, name: str, request: Any, timeout_s: float = 30.0) -> Any:
        """The response of a service."""
        client = self.node.create_client(service_type, name)
        assert client.wait_for_service(timeout_s), f"no service {name}"
        self.spin_until(lambda: False, _SETTLING_S)  # the server may not know yet where its answer goes, and would lose it
        future = client.call_async(request)
        assert self.spin_until(future.done, timeout_s), f"no answer from {name}"
        self.node.destroy_client(client)
        return future.result()

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def peer(dds_domain: int) -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


class SpinningNode:
    """A node served by an executor in a thread, in a context of its own."""

    def __init__(self, build: Callable[..., Any], ros_arguments: list[str]) -> None:
        self.context = Context()
        rclpy.init(context=self.context, args=["--ros-args", *ros_arguments])
        self.node = build(context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except rclpy.executors.ExternalShutdownException:
            return

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        rclpy.try_shutdown(context=self.context)
        if self._thread.is_alive():
            self._thread.join(5)
        self.node.close()
        self.node.destroy_node()


@pytest.fixture
def start_node(dds_domain: int) -> Iterator[Callable[..., SpinningNode]]:
    """Starts nodes and ends them after the test."""
    started: list[SpinningNode] = []

    def start(build: Callable[..., Any], ros_arguments: list[str] | None = None) -> SpinningNode:
        spinning = SpinningNode(build, ros_arguments or [])
        started.append(spinning)
        return spinning

    yield start
    for spinning in started:
        spinning.close()
