# SPDX-License-Identifier: Apache-2.0
"""What happened to the frames, counted, and what runs where, as it is shown on /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vltseg_core.runtime import SegmenterDescription

_WINDOW_S = 10.0
_SEVERAL = 5
STAGES = ("convert", "network", "publish", "stamp to mask")
"""Where a frame's time goes; the last from the message's stamp to the published mask, by the node's clock."""


@dataclass(frozen=True)
class FrameCounts:
    """Frames since activation. rejected: by reason. errors: frames lost to a failure. lost: these by cause."""

    received: int
    answered: int
    dropped: int
    rejected: Mapping[str, int]
    errors: int
    lost: Mapping[str, int]


class FrameStatistics:
    """Counts since the start, rates and latencies over the last ten seconds. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received, self._answered = _Rate(), _Rate()
        self._dropped = 0
        self._rejected: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._latencies: dict[str, deque[tuple[float, float]]] = {stage: deque(maxlen=2000) for stage in STAGES}
        self._last_received_s: dict[str, float] = {}
        self._recent_trouble: deque[tuple[float, str]] = deque(maxlen=2000)
        self._other_trouble: deque[tuple[float, str]] = deque(maxlen=100)

    def count_received(self, camera: str) -> None:
        with self._lock:
            self._received.add()
            self._last_received_s[camera] = time.monotonic()

    def count_answered(self) -> None:
        with self._lock:
            self._answered.add()

    def count_dropped(self) -> None:
        with self._lock:
            self._dropped += 1

    def count_rejected(self, reason: str) -> None:
        with self._lock:
            self._rejected[reason] += 1
            self._recent_trouble.append((time.monotonic(), f"frames rejected: {reason}"))

    def count_error(self, num_frames: int, cause: str) -> None:
        if not num_frames:
            return
        with self._lock:
            self._lost[cause] += num_frames
            self._recent_trouble.append((time.monotonic(), f"frames lost: {cause}"))

    def note_trouble(self, text: str) -> None:
        """Something went wrong that cost no frame that could be counted."""
        with self._lock:
            self._other_trouble.append((time.monotonic(), text))

    def add_latency(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._latencies[stage].append((time.monotonic(), seconds))

    @property
    def counts(self) -> FrameCounts:
        """The counts so far."""
        with self._lock:
            rejected, lost = dict(self._rejected), dict(self._lost)
            return FrameCounts(self._received.total, self._answered.total, self._dropped, rejected, sum(lost.values()), lost)

    def seconds_without_input(self, camera: str, since_s: float) -> float:
        """Seconds since the camera's last frame, or since that instant of the steady clock if none came after it."""
        with self._lock:
            return time.monotonic() - max(since_s, self._last_received_s.get(camera, since_s))

    def recent_trouble(self) -> list[str]:
        """What went wrong in the last ten seconds, each kind once."""
        with self._lock:
            horizon = time.monotonic() - _WINDOW_S
            return sorted({text for when, text in (*self._recent_trouble, *self._other_trouble) if when >= horizon})

    @property
    def answers_nothing(self) -> bool:
        """Whether several frames of the last ten seconds came to grief, and none was answered."""
        with self._lock:
            horizon = time.monotonic() - _WINDOW_S
            num_lost = sum(when >= horizon for when, _ in self._recent_trouble)
            return num_lost >= _SEVERAL and self._answered.per_second() == 0

    def values(self) -> dict[str, str]:
        """Rates, counts and latencies as they are shown."""
        counts = self.counts
        with self._lock:
            horizon = time.monotonic() - _WINDOW_S
            shown = {
                "frame rate in (Hz)": f"{self._received.per_second():.2f}",
                "frame rate out (Hz)": f"{self._answered.per_second():.2f}",
            }
            recent = {s: [v for when, v in self._latencies[s] if when >= horizon] for s in STAGES}
        shown |= {
            "frames in": str(counts.received),
            "frames out": str(counts.answered),
            "frames dropped": str(counts.dropped),
            "frames rejected": str(sum(counts.rejected.values())),
            "frames lost to errors": str(counts.errors),
        }
        shown |= {f"rejected: {reason}": str(n) for reason, n in sorted(counts.rejected.items())}
        shown |= {f"lost: {cause}": str(n) for cause, n in sorted(counts.lost.items())}
        for stage, seconds in recent.items():
            if seconds:
                median, p95 = np.percentile(seconds, (50, 95)) * 1000
                shown[f"latency {stage}, median (ms)"] = f"{median:.1f}"
                shown[f"latency {stage}, p95 (ms)"] = f"{p95:.1f}"
        return shown


class _Rate:
    """Events counted, and their rate over the window."""

    def __init__(self) -> None:
        self.total = 0
        self._start_s = time.monotonic()
        self._times: deque[float] = deque(maxlen=5000)

    def add(self) -> None:
        self.total += 1
        self._times.append(time.monotonic())

    def per_second(self) -> float:
        now = time.monotonic()
        while self._times and self._times[0] < now - _WINDOW_S:
            self._times.popleft()
        return len(self._times) / max(0.1, min(_WINDOW_S, now - self._start_s))


def served_by(description: SegmenterDescription) -> str:
    """Which backend serves, and why, in a sentence."""
    return f"serving by {description.backend} ({description.backend_reason})"


def describe_segmenter(description: SegmenterDescription, memory_bytes: int) -> dict[str, str]:
    """A segmenter's description and the memory in use, as they are shown."""
    size, limit = description.input_size, ""
    if description.max_input_pixels:
        limit = f", at most {description.max_input_pixels} pixels"
    return {
        "checkpoint": description.checkpoint,
        "preset": description.preset,
        "trained on": description.trained_on,
        "parameters (million)": f"{description.num_parameters / 1e6:.2f}",
        "device": description.device,
        "precision": description.precision,
        "backend": f"{description.backend} ({description.backend_reason})",
        "input size": f"{size[1]}x{size[0]}" if size else f"the image's own{limit}",
        "memory (MB)": f"{memory_bytes / 1e6:.0f}",
    }
