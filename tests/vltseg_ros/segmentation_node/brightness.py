# SPDX-License-Identifier: Apache-2.0
"""A small stand-in for the network, and who talks to the node that has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from tests.vltseg_ros.stand_in_segmenter import StandInSegmenter
from vltseg_core.errors import CheckpointError
from vltseg_core.runtime import Segmentation, UploadedImage

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


class BrightnessSegmenter(StandInSegmenter):
    """Stands in for the network: a pixel's label is its red value modulo 19, its confidence the green value."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.is_open = True
        self.batch_sizes: list[int] = []
        self.failures = 0
        self.busy = threading.Event()
        self.engine_is_built = threading.Event()
        self.build_shortfall = ""
        self.uploads_beside_the_network = False
        self.num_uploads = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def load(self, checkpoint: str, **options: Any) -> BrightnessSegmenter:
        if checkpoint == "missing":
            raise CheckpointError("checkpoint 'missing' not found: give another")
        self.is_open = True
        return self

    def upload(self, image: NDArray[np.uint8]) -> UploadedImage:
        self.num_uploads += 1
        return UploadedImage(torch.from_numpy(image.copy()))

    def segment(self, images: Sequence[NDArray[np.uint8] | UploadedImage]) -> list[Segmentation]:
        images = [image.pixels.numpy() if isinstance(image, UploadedImage) else image for image in images]
        self.busy.set()
        time.sleep(self.delay_s)
        assert self.may_answer.wait(60)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("injected")
        self.batch_sizes.append(len(images))
        return [Segmentation(image[..., 0] % 19, image[..., 1].copy()) for image in images]

    def build_backend(self, progress: Callable[[str], None]) -> str:
        progress("building the engine")
        assert self.engine_is_built.wait(30)
        return self.build_shortfall

    def close(self) -> None:
        self.is_open = False


def image_message(value: int = 5, size: tuple[int, int] = (6, 8), *, stamp: tuple[int, int] = (1, 2)) -> Image:
    """A colour image whose label is value % 19 everywhere, confidence 200."""
    pixels = np.full((*size, 3), (value, 200, 0), np.uint8)
    message = Image(encoding="rgb8", height=size[0], width=size[1], step=3 * size[1], data=pixels.tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = "front_optical"
    return message


class Conversation:
    """Publishes images and collects what comes back on a topic."""

    def __init__(self, peer: Any, image_topic: str, answer_topic: str, answer_type: Any = Image, image_type: Any = Image):
        self.peer = peer
        self.answers: list[Any] = []
        self.publisher = peer.node.create_publisher(image_type, image_topic, BEST_EFFORT)
        peer.node.create_subscription(answer_type, answer_topic, self.answers.append, RELIABLE)
        assert peer.spin_until(lambda: self.publisher.get_subscription_count()), f"nobody listens to {image_topic}"
        assert peer.spin_until(lambda: peer.node.count_publishers(answer_topic)), f"nobody publishes {answer_topic}"
        assert peer.spin_until(lambda: peer.partner.count_subscribers(answer_topic)), f"{answer_topic} was not found"
        peer.spin_until(lambda: False, 0.3)

    def ask(self, message: Any, timeout_s: float = 5.0) -> Any:
        """The first answer after this message, None if none came."""
        already = len(self.answers)
        self.publisher.publish(message)
        self.peer.spin_until(lambda: len(self.answers) > already, timeout_s)
        return self.answers[already] if len(self.answers) > already else None


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}
