# SPDX-License-Identifier: Apache-2.0
"""A camera that is the test's own, and what comes back to it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)


def image_message(value: int = 5, size: tuple[int, int] = (6, 8), *, number: int = 1, sec: int | None = None) -> Image:
    """A grey image of that red value; its stamp's nanoseconds are its number."""
    pixels = np.full((*size, 3), (value, 200, 0), np.uint8)
    message = Image(encoding="rgb8", height=size[0], width=size[1], step=3 * size[1], data=pixels.tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = 1 if sec is None else sec, number
    message.header.frame_id = "front_optical"
    return message


class Camera:
    """Publishes numbered images, collects masks and diagnostics, and drives the node's lifecycle."""

    def __init__(self, peer: Any, node_name: str = "/vltseg", camera: str = "") -> None:
        self.peer, self._name = peer, node_name
        prefix = f"/{camera}" if camera else ""
        self.masks: list[Image] = []
        self.statuses: list[DiagnosticStatus] = []
        self._number = 0
        self._sent: dict[int, int] = {}
        self.publisher = peer.node.create_publisher(Image, f"{prefix}/image", BEST_EFFORT)
        peer.node.create_subscription(Image, f"{prefix}/semantic/labels", self.masks.append, RELIABLE)
        peer.node.create_subscription(DiagnosticArray, "/diagnostics", lambda a: self.statuses.append(a.status[0]), RELIABLE)

    def find_services(self) -> None:
        """Wait until the node's process has come so far."""
        assert self.peer.spin_until(lambda: self.peer.node.count_publishers("/diagnostics"), 90), "the node did not start"

    def find_node(self, timeout_s: float = 30.0) -> None:
        """Wait until a mask comes back: images and masks have found their ways."""
        self.recover(timeout_s)
        self.peer.spin_until(lambda: False, 0.2)

    def send(self, value: int = 5) -> int:
        """Publish an image; gives its number."""
        self._number += 1
        self._sent[self._number] = value
        self.publisher.publish(image_message(value, number=self._number))
        return self._number

    def answer(self, number: int, timeout_s: float = 1.0) -> Image | None:
        """The mask of the image of that number, if it comes."""
        found = lambda: [mask for mask in self.masks if mask.header.stamp.nanosec == number]  # noqa: E731
        self.peer.spin_until(found, timeout_s)
        return found()[0] if found() else None

    def recover(self, timeout_s: float = 20.0, value: int = 5) -> float:
        """Publish every 20 ms until an image sent from now on is answered; seconds that it took."""
        start, first = time.monotonic(), self._number
        while time.monotonic() - start < timeout_s:
            self.send(value)
            if self.peer.spin_until(lambda: [m for m in self.masks if m.header.stamp.nanosec > first], 0.02):
                return time.monotonic() - start
        raise AssertionError(f"no mask for {timeout_s} s: {self.statuses and self.statuses[-1]}")

    def wrong_masks(self) -> list[int]:
        """Numbers of masks that are not what their image asked for."""
        return [
            mask.header.stamp.nanosec
            for mask in self.masks
            if set(mask.data) != {self._sent[mask.header.stamp.nanosec]} or (mask.height, mask.width) != (6, 8)
        ]

    def status(self, holds: Any, timeout_s: float = 10.0) -> DiagnosticStatus:
        """The next status from now on for which something holds."""
        self.statuses.clear()
        found = lambda: [status for status in self.statuses if holds(status)]  # noqa: E731
        assert self.peer.spin_until(found, timeout_s), self.statuses and self.statuses[-1]
        return found()[0]

    def change_state(self, transition: int) -> bool:
        """Whether the transition worked."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.peer.call(ChangeState, f"{self._name}/change_state", request).success)

    def state(self) -> int:
        """The node's lifecycle state, as it says."""
        return int(self.peer.call(GetState, f"{self._name}/get_state", GetState.Request()).current_state.id)


def values(status: DiagnosticStatus) -> dict[str, str]:
    """What a status shows."""
    return {pair.key: pair.value for pair in status.values}
