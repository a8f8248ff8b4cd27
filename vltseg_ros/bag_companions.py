# SPDX-License-Identifier: Apache-2.0
"""Messages of a bag that belong to a frame, and wait for it: camera info, ground truth, names of conditions."""

from __future__ import annotations

from collections import Counter, deque

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages
from vltseg_ros.bag_storage import BagMessage
from vltseg_ros.frame_source import SourceFrame
from vltseg_ros.said_text import said

_MOST_AHEAD_S = 5
_MOST_BYTES = 256 * 2**20


class Companions:
    """Takes messages in the order of the bag and gives each frame those of its stamp or before.

    What is stamped more than `_MOST_AHEAD_S` after the frame beside it is of another clock, and is not kept, as is the
    oldest where more than `_MOST_BYTES` wait: a bag of any length is read in bounded memory.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, BagMessage]] = deque()
        self._num_bytes = 0
        self._ahead: Counter[str] = Counter()
        self._overflowing: Counter[str] = Counter()
        self._short: Counter[str] = Counter()

    @property
    def losses(self) -> list[str]:
        """A sentence for each topic and reason that messages were left out for."""
        reasons = (
            (self._short, "are too short to hold a stamp"),
            (self._ahead, f"have stamps more than {_MOST_AHEAD_S} s after the images beside them"),
            (self._overflowing, f"waited in vain for their image, with {_MOST_BYTES // 2**20} MiB after them"),
        )
        return [
            f"{said(topic)}: {count} messages {reason} and were left out"
            for counts, reason in reasons
            for topic, count in sorted(counts.items())
        ]

    def stamp_of(self, message: BagMessage) -> int | None:
        """Its stamp, or its time where it has no header; None, noted, for too few bytes to tell."""
        if message.message_type == bag_messages.STRING_TYPE:
            return message.time_ns
        try:
            return bag_messages.stamp_of(message.cdr)
        except InputError:
            self._short[message.topic] += 1
            return None

    def add(self, message: BagMessage) -> None:
        """Let a message wait for its frame."""
        stamp_ns = self.stamp_of(message)
        if stamp_ns is None:
            return
        self._waiting.append((stamp_ns, message))
        self._num_bytes += len(message.cdr)
        while self._num_bytes > _MOST_BYTES:
            _, dropped = self._waiting.popleft()
            self._num_bytes -= len(dropped.cdr)
            self._overflowing[dropped.topic] += 1

    def join(self, frame: SourceFrame, next_frame: SourceFrame | None) -> SourceFrame:
        """The frame with what belongs to it; of the rest only what `next_frame` or those soon after it may want stays."""
        own: list[BagMessage] = []
        later: deque[tuple[int, BagMessage]] = deque()
        for stamp_ns, message in self._waiting:
            headerless = message.message_type == bag_messages.STRING_TYPE
            if stamp_ns <= (frame.time_ns if headerless else frame.stamp_ns):
                own.append(message)
            elif headerless or next_frame is None or stamp_ns <= next_frame.stamp_ns + _MOST_AHEAD_S * 10**9:
                later.append((stamp_ns, message))
            else:
                self._ahead[message.topic] += 1
        self._waiting = later
        self._num_bytes = sum(len(message.cdr) for _, message in later)
        return frame._replace(companions=tuple(own))
