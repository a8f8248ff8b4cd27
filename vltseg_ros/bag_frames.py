# SPDX-License-Identifier: Apache-2.0
"""One frame of a bag: the messages that it consists of, all with its stamp."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vltseg_ros import bag_messages, bags

FRAME_ID = "camera_optical_frame"
START_NS = 1_735_689_600 * 1_000_000_000
"""First stamp, 2025-01-01 00:00 UTC: fixed, so that the same frames give the same bag."""
COMPRESSED_IMAGE_TOPIC = bags.IMAGE_TOPIC + "/compressed"
Encoding = Literal["raw", "jpeg", "png"]
_SUFFIXES = {"jpeg": (".jpg", ".jpeg"), "png": (".png",)}
_JPEG_QUALITY = 95
_ORIENTATION_TAG, _UPRIGHT = 0x0112, 1


class BagFrame(NamedTuple):
    """What is known of a frame. time_s: from the bag's first on. intrinsics: [3, 3] in pixels."""

    image: NDArray[np.uint8]  # [H, W, 3] RGB
    intrinsics: NDArray[np.float64]
    time_s: float
    labels: NDArray[np.uint8] | None = None  # [H, W]
    condition: str = ""
    sequence: str = ""
    file: Path | None = None
    """The image's file, whose bytes are taken as they are where they are of the encoding asked for."""


class FrameWriter:
    """Writes frames into a bag, and a name on /condition and /sequence where each begins."""

    def __init__(self, writer: bags.BagWriter, encoding: Encoding = "raw") -> None:
        self._writer, self._encoding = writer, encoding
        self._names = {bags.SEQUENCE_TOPIC: "", bags.CONDITION_TOPIC: ""}

    def write(self, frame: BagFrame) -> None:
        """Append the frame's messages; the image comes last, so that what belongs to it is there before it."""
        stamp_ns = START_NS + round(frame.time_s * 1e9)
        for topic, name in ((bags.SEQUENCE_TOPIC, frame.sequence), (bags.CONDITION_TOPIC, frame.condition)):
            if name != self._names[topic]:
                self._names[topic] = name
                self._writer.write(topic, bag_messages.STRING_TYPE, stamp_ns, bag_messages.string_message(name))
        size = (frame.image.shape[0], frame.image.shape[1])
        info = bag_messages.camera_info_message(frame.intrinsics, size, stamp_ns, FRAME_ID)
        self._writer.write(bags.CAMERA_INFO_TOPIC, bag_messages.CAMERA_INFO_TYPE, stamp_ns, info)
        if frame.labels is not None:
            labels = bag_messages.image_message(frame.labels, stamp_ns, FRAME_ID)
            self._writer.write(bags.GROUND_TRUTH_TOPIC, bag_messages.IMAGE_TYPE, stamp_ns, labels)
        if self._encoding == "raw":
            image = bag_messages.image_message(frame.image, stamp_ns, FRAME_ID)
            self._writer.write(bags.IMAGE_TOPIC, bag_messages.IMAGE_TYPE, stamp_ns, image)
        else:
            encoded = _encoded(frame, self._encoding)
            compressed = bag_messages.compressed_image_message(encoded, self._encoding, stamp_ns, FRAME_ID)
            self._writer.write(COMPRESSED_IMAGE_TOPIC, bag_messages.COMPRESSED_IMAGE_TYPE, stamp_ns, compressed)


def _encoded(frame: BagFrame, encoding: Literal["jpeg", "png"]) -> bytes:
    if frame.file is not None and frame.file.suffix.lower() in _SUFFIXES[encoding]:
        with Image.open(frame.file) as image:
            told, upright = (image.format or "").lower(), image.getexif().get(_ORIENTATION_TAG, _UPRIGHT) == _UPRIGHT
        if told == encoding and upright:
            return frame.file.read_bytes()
    encoded = BytesIO()
    options = {"quality": _JPEG_QUALITY} if encoding == "jpeg" else {"compress_level": 1}
    Image.fromarray(frame.image).save(encoded, encoding.upper(), **options)
    return encoded.getvalue()
