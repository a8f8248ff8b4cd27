# SPDX-License-Identifier: Apache-2.0
"""Pixels of serialised image messages, by the same conversion that the node uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages
from vltseg_ros.messages import to_rgb

MESSAGE_CLASSES = {bag_messages.IMAGE_TYPE: Image, bag_messages.COMPRESSED_IMAGE_TYPE: CompressedImage}


def rgb_of(cdr: bytes, message_type: str) -> NDArray[np.uint8]:
    """The picture of an Image or CompressedImage, uint8 [H, W, 3] RGB; raises InputError for what cannot be read."""
    bag_messages.stamp_of(cdr)
    try:
        message = deserialize_message(cdr, MESSAGE_CLASSES[message_type])
    except Exception as error:  # not swallowed: rclpy raises an RMWError of its C module that cannot be imported
        raise InputError(f"{len(cdr)} bytes that are no {message_type} ({error}): record the bag anew") from error
    return to_rgb(message)


def is_readable(cdr: bytes, message_type: str) -> bool:
    """Whether `rgb_of` gives a picture."""
    try:
        rgb_of(cdr, message_type)
    except InputError:
        return False
    return True
