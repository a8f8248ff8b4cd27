# SPDX-License-Identifier: Apache-2.0
"""The frames of one image topic of a bag, their messages untouched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.frame_source import SourceFrame
from vltseg_ros.serialised_images import rgb_of

_IMAGE_TYPES = (bag_messages.IMAGE_TYPE, bag_messages.COMPRESSED_IMAGE_TYPE)
_OURS = (bags.GROUND_TRUTH_TOPIC, bags.LABELS_TOPIC, bags.OVERLAY_TOPIC)
_COMPANIONS = (bags.CONDITION_TOPIC, bags.CAMERA_INFO_TOPIC, bags.GROUND_TRUTH_TOPIC)


class BagSource:
    """One image topic of a bag, paced by the bag's times, with the headers' stamps; an `FrameSource`.

    topic: None takes the only image topic; ground truth and masks that this package wrote do not count as one.
    max_seconds: only so much from the bag's start; None for all of it.
    Raises InputError where there is no image topic, no message on it, or more than one and none was chosen.
    A bag of drawn scenes brings conditions (as sections) and ground truth along.
    """

    def __init__(self, path: Path, topic: str | None = None, max_seconds: float | None = None) -> None:
        self.path = path
        with bags.BagReader(path) as reader:
            chosen = _choose(path, reader.topics, topic)
            self.drawn = reader.entries.get("vltseg.drawn") == "true"
            self._companions = {entry.name for entry in reader.topics} & set(_COMPANIONS)
            self._stop_ns = None if max_seconds is None else reader.start_ns + round(max_seconds * 1e9)
            duration_s = max((reader.end_ns - reader.start_ns) / 1e9, 1e-9)
        self.topic, self.message_type = chosen.name, chosen.message_type
        self.frame_rate_hz = max(chosen.num_messages - 1, 1) / duration_s
        played_s = duration_s if max_seconds is None else min(max_seconds, duration_s)
        self.num_frames: int | None = min(chosen.num_messages, round(self.frame_rate_hz * played_s) + 1)
        self.has_truth = bags.GROUND_TRUTH_TOPIC in self._companions
        kind = "drawn driving scenes" if self.drawn else f"topic {self.topic}"
        self.description = f"{kind} of the bag {path}"

    def frames(self) -> Iterator[SourceFrame]:
        """The frames in the order of their times; companions are camera info, ground truth and condition.

        A frame comes out when the next one was read: its companions may lie on either side of it in the bag.
        """
        section, count = "", 0
        pending: SourceFrame | None = None
        waiting: list[bags.BagMessage] = []
        with bags.BagReader(self.path) as reader:
            for message in reader.messages(self._companions | {self.topic}, self._stop_ns):
                if message.topic == self.topic:
                    if pending is not None:
                        frame, waiting = _with_companions(pending, waiting)
                        yield frame
                    stamp_ns = bag_messages.stamp_of(message.cdr)
                    pending = SourceFrame(f"{count:06d}", section, stamp_ns, message.time_ns, message.cdr)
                    count += 1
                else:
                    waiting.append(message)
                    if message.topic == bags.CONDITION_TOPIC:
                        section = bag_messages.deserialise(message.cdr, bag_messages.STRING_TYPE).data
        if pending is not None:
            yield _with_companions(pending, waiting)[0]

    def picture(self, frame: SourceFrame) -> NDArray[np.uint8]:
        """The frame's pixels, uint8 [H, W, 3] RGB."""
        return rgb_of(frame.message, self.message_type)

    def archive(self, frame: SourceFrame) -> Iterator[bags.BagMessage]:
        """The frame's own message and its companions, byte for byte."""
        yield from frame.companions
        yield bags.BagMessage(self.topic, self.message_type, frame.time_ns, frame.message)

    def truth(self, frame: SourceFrame) -> NDArray[np.uint8] | None:
        """Train ids uint8 [H, W] of the same stamp, or None where the bag holds none."""
        for companion in frame.companions:
            if companion.topic == bags.GROUND_TRUTH_TOPIC and _stamp_or_time(companion) == frame.stamp_ns:
                return bag_messages.labels_of(companion.cdr)
        return None


def _choose(path: Path, topics: list[bags.BagTopic], topic: str | None) -> bags.BagTopic:
    images = [entry for entry in topics if entry.message_type in _IMAGE_TYPES and entry.num_messages > 0]
    if topic is not None:
        chosen = [entry for entry in images if entry.name == topic]
    else:
        chosen = [entry for entry in images if entry.name not in _OURS] or images
    if len(chosen) == 1:
        return chosen[0]
    if not images:
        present = ", ".join(f"{entry.name} ({entry.message_type})" for entry in topics) or "nothing"
        raise InputError(
            f"the bag '{path}' holds no images (it holds {present}): give a bag with sensor_msgs/Image or CompressedImage"
        )
    names = ", ".join(entry.name for entry in (images if topic is not None else chosen))
    if topic is not None:
        raise InputError(f"the bag '{path}' has no images on topic '{topic}': choose --topic from {names}")
    raise InputError(f"the bag '{path}' has images on {len(chosen)} topics: choose one with --topic from {names}")


def _with_companions(frame: SourceFrame, waiting: list[bags.BagMessage]) -> tuple[SourceFrame, list[bags.BagMessage]]:
    own = tuple(message for message in waiting if _stamp_or_time(message) <= frame.stamp_ns)
    later = [message for message in waiting if _stamp_or_time(message) > frame.stamp_ns]
    return frame._replace(companions=own), later


def _stamp_or_time(message: bags.BagMessage) -> int:
    headerless = message.message_type == bag_messages.STRING_TYPE
    return message.time_ns if headerless else bag_messages.stamp_of(message.cdr)
