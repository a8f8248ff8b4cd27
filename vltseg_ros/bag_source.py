# SPDX-License-Identifier: Apache-2.0
"""The frames of one image topic of a bag, their messages untouched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_topics import TRUTH_TOPIC_ENTRY, camera_info_of, choose_camera, find_truth
from vltseg_ros.frame_source import SourceFrame
from vltseg_ros.ground_truth import space_of_entries
from vltseg_ros.serialised_images import rgb_of


class BagSource:
    """One image topic of a bag, paced by the bag's times, with the headers' stamps; an `FrameSource`.

    topic: None takes the only camera's; ground truth, masks and depth do not count as one.
    max_seconds: only so much from the bag's start; None for all of it.
    Raises InputError where there is no image topic, no message on it, or more than one camera and none was chosen.
    A bag that this package made brings conditions (as sections), sequences and ground truth along.
    losses: what could not be read of a damaged bag, all of it when the frames have been read.
    """

    def __init__(self, path: Path, topic: str | None = None, max_seconds: float | None = None) -> None:
        self.path = path
        with bags.BagReader(path) as reader:
            chosen = choose_camera(path, reader.topics, topic)
            self.entries = _entries(reader)
            truth_topic = self.entries.get(TRUTH_TOPIC_ENTRY) or find_truth(reader.topics)
            self.drawn = self.entries.get("vltseg.drawn") == "true"
            self._truth_topic = truth_topic if truth_topic != chosen.name else None
            own = {camera_info_of(chosen.name), self._truth_topic, bags.CONDITION_TOPIC, bags.SEQUENCE_TOPIC}
            self._companions = {entry.name for entry in reader.topics} & own
            self.label_space = space_of_entries(self.entries)
            self._stop_ns = None if max_seconds is None else reader.start_ns + round(max_seconds * 1e9)
            duration_s = max((reader.end_ns - reader.start_ns) / 1e9, 1e-9)
            self.losses = reader.losses
        self.topic, self.message_type = chosen.name, chosen.message_type
        self.frame_rate_hz = max(chosen.num_messages - 1, 1) / duration_s
        played_s = duration_s if max_seconds is None else min(max_seconds, duration_s)
        self.num_frames: int | None = min(chosen.num_messages, round(self.frame_rate_hz * played_s) + 1)
        self.has_truth = self._truth_topic in self._companions
        kind = "drawn driving scenes" if self.drawn else f"topic {self.topic}"
        self.description = f"{kind} of the bag {path}"

    def frames(self) -> Iterator[SourceFrame]:
        """The frames in the order of their times; companions are camera info, ground truth and condition.

        A frame comes out when the next one was read: its companions may lie on either side of it in the bag.
        """
        section, sequence, count = "", "", 0
        pending: SourceFrame | None = None
        waiting: list[bags.BagMessage] = []
        with bags.BagReader(self.path) as reader:
            for message in reader.messages(self._companions | {self.topic}, self._stop_ns):
                if message.topic == self.topic:
                    if pending is not None:
                        frame, waiting = _with_companions(pending, waiting)
                        yield frame
                    stamp_ns = bag_messages.stamp_of(message.cdr)
                    name = f"{count:06d}"
                    pending = SourceFrame(name, section, stamp_ns, message.time_ns, message.cdr, sequence=sequence)
                    count += 1
                else:
                    waiting.append(message)
                    if message.topic == bags.CONDITION_TOPIC:
                        section = _text(message) or section
                    elif message.topic == bags.SEQUENCE_TOPIC:
                        sequence = _text(message) or sequence
            self.losses = reader.losses
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
        """Labels uint8 [H, W] of the same stamp in `label_space`, or None where the bag holds none."""
        for companion in frame.companions:
            if companion.topic == self._truth_topic and _stamp_or_time(companion) == frame.stamp_ns:
                return bag_messages.labels_of(companion.cdr)
        return None


def _with_companions(frame: SourceFrame, waiting: list[bags.BagMessage]) -> tuple[SourceFrame, list[bags.BagMessage]]:
    own = tuple(message for message in waiting if _stamp_or_time(message) <= frame.stamp_ns)
    later = [message for message in waiting if _stamp_or_time(message) > frame.stamp_ns]
    return frame._replace(companions=own), later


def _stamp_or_time(message: bags.BagMessage) -> int:
    headerless = message.message_type == bag_messages.STRING_TYPE
    return message.time_ns if headerless else bag_messages.stamp_of(message.cdr)


def _entries(reader: bags.BagReader) -> dict[str, str]:
    """The bag's metadata; where its end is lost, the copy that `vltseg bag make` puts at its beginning."""
    if reader.entries:
        return reader.entries
    message = next(reader.messages([bags.METADATA_TOPIC]), None)
    try:
        entries = json.loads(_text(message) or "{}")
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in entries.items()} if isinstance(entries, dict) else {}


def _text(message: bags.BagMessage | None) -> str | None:
    """A std_msgs/String's text, or None for what is none."""
    try:
        return str(bag_messages.deserialise(message.cdr, bag_messages.STRING_TYPE).data) if message is not None else None
    except InputError:
        return None
