# SPDX-License-Identifier: Apache-2.0
"""The subscriptions to the cameras' images, newest message only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

_NEWEST_ONLY = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class CameraSubscriptions:
    """One a camera, in a callback group of its own.

    An executor that cannot take a message (there is no memory for it) never asks that subscription again, nor any of its
    group, so that `renew` has to put others in their place.

    Args:
        receive: called with the camera's name, the topic's full name and each message.
        is_compressed: whether the cameras send CompressedImage.
    """

    def __init__(
        self,
        node: LifecycleNode,
        cameras: Sequence[str],
        receive: Callable[[str, str, Image | CompressedImage], None],
        *,
        is_compressed: bool,
    ) -> None:
        self._node, self._receive, self._is_compressed = node, receive, is_compressed
        self._subscriptions: dict[str, Subscription[Any]] = {}
        try:
            for camera in cameras:
                self.renew(camera)
        except Exception:
            self.destroy()
            raise

    @property
    def by_camera(self) -> Mapping[str, Subscription[Any]]:
        """The subscriptions by the cameras' names."""
        return self._subscriptions

    def renew(self, camera: str) -> None:
        """A new subscription in place of the camera's own, if it has one."""
        message_type, suffix = (CompressedImage, "/compressed") if self._is_compressed else (Image, "")
        topic = (f"{camera}/image" if camera else "image") + suffix
        callback = functools.partial(self._receive, camera, self._node.resolve_topic_name(topic))
        subscription = self._node.create_subscription(
            message_type, topic, callback, _NEWEST_ONLY, callback_group=MutuallyExclusiveCallbackGroup()
        )
        former, self._subscriptions[camera] = self._subscriptions.get(camera), subscription
        if former is not None:
            self._node.destroy_subscription(former)

    def destroy(self) -> None:
        """Hear nothing any more."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions = {}
