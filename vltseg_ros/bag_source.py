# SPDX-License-Identifier: Apache-2.0
"""The frames of one image topic of a bag, their messages untouched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_companions import Companions
from vltseg_ros.bag_storage import MAX_METADATA_BYTES
from vltseg_ros.bag_topics import TRUTH_TOPIC_ENTRY, camera_info_of, choose_camera, find_truth
from vltseg_ros.frame_source import SourceFrame
from vltseg_ros.ground_truth import space_of_entries
from vltseg_ros.said_text import said, short_name
from vltseg_ros.serialised_images import rgb_of

_NUM_TRIED = 10


class BagSource:
    """One image topic of a bag, paced by the bag's times, with the headers' stamps; an `FrameSource`.

    topic: None takes the only camera's; ground truth, masks and depth do not count as one.
    max_seconds: only so much from the first image on; None for all of it.
    Raises InputError where there is no image topic, no message on it, or more than one camera and none was chosen.
    A bag that this package made brings conditions (as sections), sequences and ground truth along.
    losses: what could not be read of a damaged bag, all of it when the frames have been read.
    """

    def __init__(self, path: Path, topic: str | None = None, max_seconds: float | None = None) -> None:
        self.path = path
        with bags.BagReader(path) as reader:
            self.entries = _entries(reader)
            told = self.entries.get(TRUTH_TOPIC_ENTRY)
            cameras = [entry for entry in reader.topics if entry.name != told or entry.name == topic]
            chosen = choose_camera(path, cameras, topic)
            self.drawn = self.entries.get("vltseg.drawn") == "true"
            named = find_truth([entry for entry in reader.topics if entry != chosen])
            self._remarks = []
            if told is None and named is not None and not _holds_labels(reader, named):
                self._remarks.append(
                    f"{said(named)} is named like ground truth, but does not hold labels (mono8), and was left out"
                )
                named = None
            wanted = {
                camera_info_of(chosen.name): bag_messages.CAMERA_INFO_TYPE,
                bags.CONDITION_TOPIC: bag_messages.STRING_TYPE,
                bags.SEQUENCE_TOPIC: bag_messages.STRING_TYPE,
                told or named: bag_messages.IMAGE_TYPE,
            }
            self._companions = {entry.name for entry in reader.topics if wanted.get(entry.name) == entry.message_type}
            self._companions.discard(chosen.name)
            self.truth_topic = next((name for name in self._companions if name == (told or named)), None)
            self.label_space = space_of_entries(self.entries)
            self._stop_ns = None
            if max_seconds is not None:
                first = next(reader.messages([chosen.name]), None)
                self._stop_ns = (first.time_ns if first is not None else reader.start_ns) + round(max_seconds * 1e9)
            duration_s = max((reader.end_ns - reader.start_ns) / 1e9, 1e-9)
            self.losses = [*reader.losses, *self._remarks]
        self.topic, self.message_type = chosen.name, chosen.message_type
        self.frame_rate_hz = max(chosen.num_messages - 1, 1) / duration_s
        played_s = duration_s if max_seconds is None else min(max_seconds, duration_s)
        self.num_frames: int | None = min(chosen.num_messages, round(self.frame_rate_hz * played_s) + 1)
        self.has_truth = self.truth_topic is not None
        kind = "drawn driving scenes" if self.drawn else f"topic {said(self.topic)}"
        self.description = f"{kind} of the bag {path}"

    def frames(self) -> Iterator[SourceFrame]:
        """The frames in the order of their times; companions are camera info, ground truth and condition.

        A frame comes out when the next one was read: its companions may lie on either side of it in the bag.
        """
        section, sequence, count = "", "", 0
        pending: SourceFrame | None = None
        companions = Companions()
        with bags.BagReader(self.path) as reader:
            for message in reader.messages(self._companions | {self.topic}, self._stop_ns):
                if message.topic == self.topic:
                    name = f"{count:06d}"
                    count += 1
                    stamp_ns = companions.stamp_of(message)
                    if stamp_ns is None:
                        continue
                    frame = SourceFrame(name, section, stamp_ns, message.time_ns, message.cdr, sequence=sequence)
                    if pending is not None:
                        yield companions.join(pending, frame)
                    pending = frame
                else:
                    companions.add(message)
                    if message.topic == bags.CONDITION_TOPIC:
                        section = short_name(_text(message) or "") or section
                    elif message.topic == bags.SEQUENCE_TOPIC:
                        sequence = short_name(_text(message) or "") or sequence
            last = companions.join(pending, None) if pending is not None else None
            self.losses = [*reader.losses, *companions.losses, *self._remarks]
        if last is None:
            why = f" ({self.losses[0]})" if self.losses else ""
            raise InputError(f"no image on {said(self.topic)} of the bag '{self.path}' can be read{why}: record the bag anew")
        yield last

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
            if companion.topic == self.truth_topic and bag_messages.stamp_of(companion.cdr) == frame.stamp_ns:
                return bag_messages.labels_of(companion.cdr)
        return None


def _holds_labels(reader: bags.BagReader, topic: str) -> bool:
    """Whether the first message on the topic that can be read is an image of one byte a pixel."""
    for message in islice(reader.messages([topic]), _NUM_TRIED):
        with suppress(InputError):
            return bag_messages.deserialise(message.cdr, bag_messages.IMAGE_TYPE).encoding in bag_messages.LABEL_ENCODINGS
    return False


def _entries(reader: bags.BagReader) -> dict[str, str]:
    """The bag's metadata; where its end is lost, the copy that `vltseg bag make` puts at its beginning."""
    if reader.entries:
        return reader.entries
    message = next(reader.messages([bags.METADATA_TOPIC]), None)
    if message is None or len(message.cdr) > MAX_METADATA_BYTES:
        return {}
    try:
        entries = json.loads(_text(message) or "{}")
        return {_writable(key): _writable(value) for key, value in entries.items()} if isinstance(entries, dict) else {}
    except (ValueError, RecursionError):
        return {}


def _writable(value: object) -> str:
    """Its text, without the halves of surrogate pairs that JSON can hold and no file takes."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _text(message: bags.BagMessage | None) -> str | None:
    """A std_msgs/String's text, or None for what is none."""
    try:
        return str(bag_messages.deserialise(message.cdr, bag_messages.STRING_TYPE).data) if message is not None else None
    except InputError:
        return None
