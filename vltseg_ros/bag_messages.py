# SPDX-License-Identifier: Apache-2.0
"""Serialised ROS 2 messages (CDR) without a ROS installation: the ones that our bags hold.

Stamps are nanoseconds since the epoch. Images are uint8 [H, W, 3] RGB, labels uint8 [H, W].
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from vltseg_core.errors import InputError
from vltseg_ros.said_text import said

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
STRING_TYPE = "std_msgs/msg/String"
LABEL_ENCODINGS = ("mono8", "8UC1")
_NO_DATA = np.zeros(0, np.uint8)


@cache
def message_types() -> Typestore:
    """The message definitions; those used here have been the same since Humble."""
    return get_typestore(Stores.ROS2_HUMBLE)


def image_message(pixels: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> bytes:
    """A sensor_msgs/Image: rgb8 of an image [H, W, 3], mono8 of labels [H, W]."""
    height, width = pixels.shape[:2]
    encoding, channels = ("rgb8", 3) if pixels.ndim == 3 else ("mono8", 1)
    message = _type(IMAGE_TYPE)(
        header=_header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * channels,
        data=_NO_DATA,
    )
    return _with_payload(message, IMAGE_TYPE, np.ascontiguousarray(pixels).reshape(-1).data)


def compressed_image_message(encoded: bytes, image_format: str, stamp_ns: int, frame_id: str) -> bytes:
    """A sensor_msgs/CompressedImage of an encoded file; `image_format` is "jpeg" or "png"."""
    message = _type(COMPRESSED_IMAGE_TYPE)(header=_header(stamp_ns, frame_id), format=image_format, data=_NO_DATA)
    return _with_payload(message, COMPRESSED_IMAGE_TYPE, encoded)


def camera_info_message(intrinsics: NDArray[np.float64], image_size: tuple[int, int], stamp_ns: int, frame_id: str) -> bytes:
    """A sensor_msgs/CameraInfo of a camera without distortion: intrinsics [3, 3] in pixels, size (height, width)."""
    roi = _type("sensor_msgs/msg/RegionOfInterest")(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    message = _type(CAMERA_INFO_TYPE)(
        header=_header(stamp_ns, frame_id),
        height=image_size[0],
        width=image_size[1],
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.asarray(intrinsics, np.float64).reshape(9),
        r=np.eye(3).reshape(9),
        p=np.hstack([np.asarray(intrinsics, np.float64), np.zeros((3, 1))]).reshape(12),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )
    return _serialise(message, CAMERA_INFO_TYPE)


def string_message(text: str) -> bytes:
    """A std_msgs/String."""
    return _serialise(_type(STRING_TYPE)(data=text), STRING_TYPE)


def deserialise(cdr: bytes, message_type: str) -> Any:
    """The message with its fields as attributes; `data` of images is an array uint8 [bytes].

    Raises InputError where the bytes are no message of that type.
    """
    try:
        return message_types().deserialize_cdr(cdr, message_type)
    except Exception as error:  # not swallowed: damaged bytes make rosbags raise whatever numpy or struct raises
        raise InputError(f"{len(cdr)} bytes that are no {message_type} ({error}): record the bag anew") from error


def stamp_of(cdr: bytes) -> int:
    """The header's stamp in nanoseconds, read from the first bytes of a message that begins with a header.

    Raises InputError for fewer bytes than a stamp has.
    """
    if len(cdr) < 12:
        raise InputError(f"{len(cdr)} bytes are no message with a header: expected at least 12, record the bag anew")
    seconds, nanoseconds = struct.unpack_from("<iI" if cdr[1] & 1 else ">iI", cdr, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def labels_of(cdr: bytes) -> NDArray[np.uint8]:
    """Labels uint8 [H, W] of a serialised mono8 image; raises InputError for another encoding or too little data."""
    message = deserialise(cdr, IMAGE_TYPE)
    if message.encoding not in LABEL_ENCODINGS:
        raise InputError(f"a label image has encoding '{said(message.encoding)}', expected mono8")
    height, width, step = message.height, message.width, message.step
    if step < width or message.data.size < height * step:
        raise InputError(
            f"a label image of {width}x{height} pixels with step {step} has {message.data.size} bytes, "
            f"expected {height * max(step, width)}"
        )
    rows: NDArray[np.uint8] = message.data[: height * step].reshape(height, step)
    return rows[:, :width]


def _type(name: str) -> Any:
    return message_types().types[name]


def _header(stamp_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = _type("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)
    return _type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)


def _serialise(message: Any, message_type: str) -> bytes:
    return bytes(message_types().serialize_cdr(message, message_type))


def _with_payload(message: Any, message_type: str, payload: bytes | memoryview) -> bytes:
    """Serialise a message whose last field is `data`, given empty, with this payload: megabytes are copied once."""
    return b"".join((_serialise(message, message_type)[:-4], struct.pack("<I", len(payload)), payload))
