# SPDX-License-Identifier: Apache-2.0
"""Warnings that can come with every frame, said once in a while. One kind never hides another, as rclpy's throttle does.

rclpy throttles by the line of code that logs; here it is by what happened, and what was left out is counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_MOST_KINDS = 256


class ThrottledLog:
    """Says each kind of sentence once in `period_s`. Safe between threads.

    say: what logs a sentence. clock: gives seconds by a steady clock.
    """

    def __init__(self, say: Callable[[str], object], period_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._period_s, self._clock = say, period_s, clock
        self._lock = threading.Lock()
        self._said_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, kind: str, sentence: str) -> None:
        """Say the sentence, unless one of its kind was said within the period; then it is counted for the next."""
        now = self._clock()
        with self._lock:
            last_s = self._said_s.get(kind)
            if last_s is not None and now - last_s < self._period_s:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            if last_s is None and len(self._said_s) >= _MOST_KINDS:
                self._said_s.pop(next(iter(self._said_s)))
            self._said_s[kind] = now
            num_left_out = self._left_out.pop(kind, 0)
        self._say(f"{sentence} (and {num_left_out} more like it)" if num_left_out else sentence)
