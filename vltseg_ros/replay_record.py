# SPDX-License-Identifier: Apache-2.0
"""What a replay saw: every frame that was played, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vltseg_core.evaluation.sequence_result import FrameTiming

_LONGEST_CAMERA_DELAY_MS = 60_000.0
_REFUSALS = ("frames rejected", "frames lost to errors")


@dataclass
class PlayedFrame:
    """One published frame and what became of it."""

    name: str
    section: str
    stamp_ns: int
    time_ns: int
    """When it plays, on the sequence's own clock."""
    published_s: float
    """When it was published, on this process's monotonic clock."""
    latency_ms: float = float("nan")
    """From publishing to receipt of its mask; NaN while there is none."""
    sequence: str = ""
    has_confidence: bool = False
    """Whether its confidence came back."""
    refused: bool = False
    """Whether the node said, while nothing else was played, that it rejected or lost it, or nobody can decode it."""
    unreadable: bool = False
    """Whether it was found here that its message cannot be decoded, before it was waited for."""

    @property
    def answered(self) -> bool:
        """Whether its mask came back."""
        return not math.isnan(self.latency_ms)

    @property
    def stamp_latency_ms(self) -> float:
        """From the header's stamp to receipt of the mask: the camera's delay as the bag has it, then the node's.

        NaN without a mask, and where stamp and bag are so far apart (a minute) that they are of different clocks.
        """
        delay_ms = (self.time_ns - self.stamp_ns) / 1e6
        return delay_ms + self.latency_ms if abs(delay_ms) <= _LONGEST_CAMERA_DELAY_MS else float("nan")


@dataclass
class ReplayRecord:
    """What a replay saw."""

    frames: list[PlayedFrame] = field(default_factory=list)
    playing_s: float = 0.0
    """First to last publishing, plus one mean interval."""
    num_late_frames: int = 0
    """Frames that were published over 50 ms behind their time: this machine could not play in real time."""
    num_unknown_masks: int = 0
    """Masks whose stamp is no waiting frame's."""
    num_shared_stamps: int = 0
    """Frames published in real time while another of the same stamp waited: which of them a mask answers is a guess."""
    num_silent_frames: int = 0
    """Frames of a lossless replay that were waited for in vain."""
    num_shortened_gaps: int = 0
    """Pauses of over ten seconds that were played in real time as one second."""
    diagnostics: dict[str, str] = field(default_factory=dict)
    """Keys and values of the node's last /diagnostics message."""

    @property
    def num_answered(self) -> int:
        """Frames whose mask came back."""
        return sum(frame.answered for frame in self.frames)

    def all_silent(self, num_frames: int) -> bool:
        """Whether the node said nothing of so many frames in a row, the newest ones that can be decoded."""
        newest = [frame for frame in self.frames if not frame.unreadable][-num_frames:]
        return len(newest) == num_frames and not any(frame.answered or frame.refused for frame in newest)

    def timings(self, rate: float = 1.0) -> list[FrameTiming]:
        """Each frame's timing at this speed of playing; the last frame takes the interval before it."""
        times_ns = [frame.time_ns for frame in self.frames]
        intervals_ms = [(later - earlier) / 1e6 / rate for earlier, later in zip(times_ns, times_ns[1:], strict=False)]
        intervals_ms += intervals_ms[-1:] or [float("nan")]
        return [
            FrameTiming(frame.latency_ms, frame.stamp_latency_ms, interval_ms, frame.refused)
            for frame, interval_ms in zip(self.frames, intervals_ms, strict=False)
        ]


def num_refused(diagnostics: Mapping[str, str]) -> int:
    """How many frames the node says it rejected or lost."""
    return sum(int(diagnostics.get(key, "0")) for key in _REFUSALS)
