# SPDX-License-Identifier: Apache-2.0
"""Says why no frame comes: which topic is listened to, who publishes there, and what does not match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from vltseg_ros.dds_environment import profiles_variable

_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


def explain_silences(
    node: Node, subscriptions: Mapping[str, Subscription[Any]], silent_s: Mapping[str, float], longest_s: float
) -> dict[str, str]:
    """A sentence for each camera, by its name, that gave no frame for longer than that. silent_s: the seconds of each."""
    return {
        camera: explain_silence(node, subscription, silent_s[camera])
        for camera, subscription in subscriptions.items()
        if silent_s[camera] > longest_s
    }


def explain_silence(node: Node, subscription: Subscription[Any], seconds: float) -> str:
    """One sentence on a subscription to images that gave no frame for so many seconds."""
    topic, message_type = subscription.topic_name, f"sensor_msgs/msg/{subscription.msg_type.__name__}"
    silent = f"no frame on '{topic}' for {seconds:.0f} s"
    publishers = node.get_publishers_info_by_topic(topic)
    if publishers:
        listed = ", ".join(
            f"{p.node_namespace.rstrip('/')}/{p.node_name} ({p.topic_type.rpartition('/')[2]}, "
            f"{p.qos_profile.reliability.name.lower().replace('_', ' ')})"
            for p in publishers
        )
        foreign = [p.topic_type for p in publishers if p.topic_type != message_type]
        if foreign:
            return (
                f"{silent}: it carries {foreign[0]}, expected {message_type}; set image_transport or remap. Publishers: {listed}"
            )
        return (
            f"{silent}, though it has publishers: {listed}. Best-effort images over 0.5 MB need the Fast DDS profile "
            f"of this package on the camera's side too ({profiles_variable()})"
        )
    others = sorted(
        name
        for name, types in node.get_topic_names_and_types()
        if message_type in types and "/semantic/" not in name and node.count_publishers(name)
    )
    where = f"images are published on {', '.join(others)}: remap one of these" if others else "no camera publishes at all"
    return f"{silent}: nobody publishes there, and {where}"
