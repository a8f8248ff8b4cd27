# SPDX-License-Identifier: Apache-2.0
"""A program that talks to the node in another process over DDS: what benchmarks/fuzz.py sends, and what comes back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from hostile_messages import Drawn
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from vltseg_ros.diagnostics import FrameCounts

_BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Peer:
    """Sends bad messages to the first camera, and sound ones, whose answers it waits for, to the second."""

    def __init__(self, transport: str, cameras: Sequence[str]) -> None:
        self._type = CompressedImage if transport == "compressed" else Image
        suffix = "/compressed" if transport == "compressed" else ""
        self._node = Node("fuzzer")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._bad, self._good = (
            self._node.create_publisher(self._type, f"{name}/image{suffix}", _BEST_EFFORT) for name in cameras
        )
        self._answers: list[Image] = []
        self._status: dict[str, str] = {}
        self._node.create_subscription(Image, f"{cameras[1]}/semantic/labels", self._answers.append, 10)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_status, 10)

    def _on_status(self, array: DiagnosticArray) -> None:
        self._status = {pair.key: pair.value for pair in array.status[0].values}

    def _spin_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def wait_until_ready(self) -> None:
        ready = self._spin_until(
            lambda: bool(self._bad.get_subscription_count() and self._good.get_subscription_count() and self._status), 60
        )
        assert ready, "the node did not start"
        self._spin_until(lambda: False, 1.0)

    def send_bad(self, drawn: Drawn, rng: random.Random) -> str:
        """Publish it, or now and then bytes that are no message; what it was."""
        if rng.random() > 0.1:
            self._bad.publish(drawn.message)
            return drawn.kind
        cdr = bytearray(serialize_message(drawn.message)[:2000])
        for _ in range(rng.choice((0, 1, 8))):
            cdr[rng.randrange(len(cdr))] = rng.randrange(256)
        self._bad.publish(bytes(cdr[: rng.choice((0, 3, 20, len(cdr)))]))
        return "bytes that are no message"

    def ask(self, drawn: Drawn) -> str:
        """Publish a sound message until its answer is there; best effort may lose one, three in a row it does not."""
        stamp = drawn.message.header.stamp
        for _ in range(3):
            self._answers.clear()
            self._good.publish(drawn.message)
            if self._spin_until(lambda: any(answer.header.stamp == stamp for answer in self._answers), 3.0):
                right = self._answers[-1]
                return "answered" if (right.height, right.width) == drawn.size else "another size"
        return "nothing"

    def counts(self) -> Any:
        """The node's own counts, once they stay."""
        self._spin_until(lambda: False, 1.0)
        values = self._status

        def counted(kind: str) -> dict[str, int]:
            return {key.removeprefix(kind): int(value) for key, value in values.items() if key.startswith(kind)}

        return FrameCounts(
            int(values["frames in"]), int(values["frames out"]), int(values["frames dropped"]), counted("rejected: "),
            int(values["frames lost to errors"]), counted("lost: "),
        )  # fmt: skip

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
