# SPDX-License-Identifier: Apache-2.0
"""A node with the segmentation node's interface and no network, for tests of what talks to it.

A mask is the image's red channel divided by 16, so whoever published the image knows the mask; the confidence is the
green one. What it does is told by the parameter `checkpoint`: "tiny" answers every frame, "slow" takes 0.25 s a frame and
answers the newest, "mute" never answers, "broken" fails as a bad checkpoint does, "dying" ends at the third frame, "picky"
rejects every third frame and says so, "deaf" loses every third one without a word, "clock" says what time it was at each.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image


class StandInNode(Node):
    """Subscribes to `image`, publishes `semantic/labels`."""

    def __init__(self) -> None:
        super().__init__("stand_in")
        self.behaviour = self.declare_parameter("checkpoint", "tiny").value
        self.declare_parameter("device", "auto")
        self.declare_parameter("image_transport", "raw")
        self.num_frames = 0
        self.num_rejected = 0
        self.times_ns: list[int] = []
        self.create_service(GetState, "~/get_state", self.answer_state)
        depth = 1 if self.behaviour == "slow" else 50  # so that a busy machine makes only "slow" drop frames
        best_effort = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, "image", self.on_image, best_effort)
        self.labels = self.create_publisher(Image, "semantic/labels", 5)
        self.confidence = self.create_publisher(Image, "semantic/confidence", 5)
        self.diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self.create_timer(0.2, self.publish_diagnostics, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if self.behaviour == "broken":
            self.get_logger().error("checkpoint 'broken' is no checkpoint: give a .safetensors file")
            sys.exit(3)

    def answer_state(self, request: GetState.Request, response: GetState.Response) -> GetState.Response:
        response.current_state.id = State.PRIMARY_STATE_ACTIVE
        return response

    def on_image(self, image: Image) -> None:
        self.num_frames += 1
        if self.num_frames == 1:
            self.get_logger().info("first frame")
        self.times_ns.append(self.get_clock().now().nanoseconds)
        is_third = self.num_frames % 3 == 0
        self.num_rejected += self.behaviour == "picky" and is_third
        if self.behaviour == "mute" or (self.behaviour in ("picky", "deaf") and is_third):
            return
        if self.behaviour == "slow":
            time.sleep(0.25)
        if self.behaviour == "dying" and self.num_frames == 3:
            self.get_logger().fatal("the device is gone")
            os._exit(7)
        rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)
        pixels = rows[:, : image.width * 3].reshape(image.height, image.width, 3)
        self.publish(self.labels, image, pixels[..., 0] // 16)
        if self.confidence.get_subscription_count():
            self.publish(self.confidence, image, pixels[..., 1])

    def publish(self, publisher: Any, image: Image, values: Any) -> None:
        message = Image(header=image.header, height=image.height, width=image.width, encoding="mono8", step=image.width)
        message.data = values.tobytes()
        publisher.publish(message)

    def publish_diagnostics(self) -> None:
        said = {"checkpoint": f"stand-in {self.behaviour}", "device": "none"}
        if self.behaviour == "picky":
            said |= {"frames rejected": str(self.num_rejected), "rejected: taste": str(self.num_rejected)}
        if self.behaviour == "clock":
            said["times (ns)"] = json.dumps(self.times_ns)
        values = [KeyValue(key=key, value=value) for key, value in said.items()]
        self.diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name=self.get_name(), values=values)]))


def main() -> None:
    rclpy.init()
    try:
        rclpy.spin(StandInNode())
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
