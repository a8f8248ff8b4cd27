# SPDX-License-Identifier: Apache-2.0
"""Each camera's input health over the last seconds, for the operator and for the confidence of its masks."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vltseg_core.runtime.input_health import InputFinding, InputHealth, InputReport

_WINDOW_S = 10.0


class InputWatch:
    """Judges pictures on one thread; what it found is asked from any. cameras: their names, one empty name allowed.

    clock: seconds by a steady clock.
    """

    def __init__(self, cameras: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._cameras = {camera: _Camera() for camera in cameras}

    def check(self, camera: str, image: NDArray[np.uint8], received_s: float) -> InputReport:
        """What is wrong with a camera's next picture, uint8 [H, W, 3] RGB; its `trust` is for the confidence."""
        watched = self._cameras[camera]
        report = watched.health.check(image, received_s)
        with self._lock:
            watched.last = report
            watched.recent.append((self._clock(), report.findings))
            watched.counts.update(report.findings)
            watched.num_checked += 1
        return report

    def note_rejected(self, camera: str, reason: str) -> None:
        """A camera's frame had no picture that can be segmented."""
        with self._lock:
            self._cameras[camera].rejected.append((self._clock(), reason))
            self._cameras[camera].num_rejected += 1

    def warnings(self, camera: str) -> list[str]:
        """What was found in a camera's pictures of the last ten seconds, and why others were rejected, each kind once."""
        with self._lock:
            recent, horizon = self._recent(camera), self._clock() - _WINDOW_S
            counts = Counter(finding for findings in recent for finding in findings)
            reasons = Counter(reason for when, reason in self._cameras[camera].rejected if when >= horizon)
            found = [f"{finding.words}: {counts[finding]} of {len(recent)} frames" for finding in InputFinding if counts[finding]]
            return found + [f"frames rejected, {reason}: {number}" for reason, number in sorted(reasons.items())]

    def values(self, camera: str) -> dict[str, str]:
        """The last picture's figures, and what was found since the start."""
        with self._lock:
            watched = self._cameras[camera]
            shown = {"frames checked": str(watched.num_checked), "frames rejected": str(watched.num_rejected)}
            if watched.last is not None and watched.last.figures is not None:
                shown |= {name: f"{value:.2f}" for name, value in watched.last.figures._asdict().items()}
            return shown | {f"found: {finding.words}": str(number) for finding, number in watched.counts.items()}

    def _recent(self, camera: str) -> list[tuple[InputFinding, ...]]:
        horizon = self._clock() - _WINDOW_S
        return [findings for when, findings in self._cameras[camera].recent if when >= horizon]


class _Camera:
    def __init__(self) -> None:
        self.health = InputHealth()
        self.last: InputReport | None = None
        self.recent: deque[tuple[float, tuple[InputFinding, ...]]] = deque(maxlen=2000)
        self.counts: Counter[InputFinding] = Counter()
        self.num_checked = 0
        self.rejected: deque[tuple[float, str]] = deque(maxlen=2000)
        self.num_rejected = 0
