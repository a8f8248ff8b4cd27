# SPDX-License-Identifier: Apache-2.0
"""Masks and confidences as a replay recorded them, found again by their frames' stamps."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.replay_record import PlayedFrame


class RecordedAnswer(NamedTuple):
    """What came back for one frame."""

    mask: bags.BagMessage
    confidence: bags.BagMessage | None


class RecordedAnswers:
    """The answers of a recording, read on only as far as needed; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._reader = bags.BagReader(path)
        self._unread: Iterator[bags.BagMessage] = self._reader.messages([bags.LABELS_TOPIC, bags.CONFIDENCE_TOPIC])
        self._early: dict[tuple[str, int], deque[bags.BagMessage]] = defaultdict(deque)

    def take(self, frame: PlayedFrame) -> RecordedAnswer | None:
        """The next answer with this frame's stamp, None for a frame without; InputError where the recording lacks it."""
        if not frame.answered:
            return None
        mask = self._take(bags.LABELS_TOPIC, frame.stamp_ns)
        return RecordedAnswer(mask, self._take(bags.CONFIDENCE_TOPIC, frame.stamp_ns) if frame.has_confidence else None)

    def _take(self, topic: str, stamp_ns: int) -> bags.BagMessage:
        while not self._early[topic, stamp_ns]:
            message = next(self._unread, None)
            if message is None:
                kind = "mask" if topic == bags.LABELS_TOPIC else "confidence"
                raise InputError(f"the recording lacks the {kind} of stamp {stamp_ns}: run it again")
            self._early[message.topic, bag_messages.stamp_of(message.cdr)].append(message)
        return self._early[topic, stamp_ns].popleft()

    def __enter__(self) -> RecordedAnswers:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()
