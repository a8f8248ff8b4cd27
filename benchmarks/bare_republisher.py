# SPDX-License-Identifier: Apache-2.0
"""The least that any rclpy node can do with an image: take the message, publish bytes of a mask's size with its header.

The mask's bytes are made once, its size is the frame_id, "HEIGHTxWIDTH". Nothing is converted or decoded, unless the
parameter `decode` asks for a compressed image's pixels. cameras and image_transport are as the segmentation node has them.
"""

from __future__ import annotations

import array
import functools
from functools import cache

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

_NEWEST_ONLY = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class BareRepublisher(Node):
    """The segmentation node's topics and their QoS, and nothing else of it."""

    def __init__(self) -> None:
        super().__init__("bare_republisher")
        self.decode = self.declare_parameter("decode", False).value
        compressed = self.declare_parameter("image_transport", "raw").value == "compressed"
        for camera in self.declare_parameter("cameras", [""]).value:
            publisher = self.create_publisher(Image, f"{camera}/semantic/labels", _RELIABLE)
            topic = f"{camera}/image" + ("/compressed" if compressed else "")
            answer = functools.partial(self.answer, publisher)
            self.create_subscription(CompressedImage if compressed else Image, topic, answer, _NEWEST_ONLY)

    def answer(self, publisher: Publisher, message: Image | CompressedImage) -> None:
        if self.decode:
            cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        height, width = map(int, message.header.frame_id.split("x"))
        answer = Image(header=message.header, height=height, width=width, encoding="mono8", step=width)
        answer.data = mask_bytes(height * width)
        publisher.publish(answer)


@cache
def mask_bytes(num_pixels: int) -> array.array[int]:
    return array.array("B", bytes(num_pixels))


if __name__ == "__main__":
    rclpy.init()
    try:
        rclpy.spin(BareRepublisher())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
