# SPDX-License-Identifier: Apache-2.0
"""When each frame of a sequence is due in real time, whatever its clock does."""

from __future__ import annotations

import time

_LONGEST_GAP_NS = 10_000_000_000
_SHORTENED_GAP_S = 1.0


class Pace:
    """Turns the times of a sequence, in their order, into moments of this process's monotonic clock.

    A pause of over ten seconds is taken for a jump of the clock, or for nothing to wait for, and shortened to one.
    rate: speed of playing; 1 is real time. num_shortened_gaps: how often that was so.
    """

    def __init__(self, rate: float) -> None:
        self.num_shortened_gaps = 0
        self._rate = rate
        self._due_s = 0.0
        self._time_ns: int | None = None

    def step(self, time_ns: int) -> tuple[float, bool]:
        """When the next frame is due, and whether the sequence's clock begins or jumps there."""
        if self._time_ns is None:
            self._due_s, jumped = time.monotonic(), True
        else:
            gap_ns = time_ns - self._time_ns
            jumped = gap_ns > _LONGEST_GAP_NS
            self._due_s += (_SHORTENED_GAP_S if jumped else gap_ns / 1e9) / self._rate
            self.num_shortened_gaps += jumped
        self._time_ns = time_ns
        return self._due_s, jumped
