# SPDX-License-Identifier: Apache-2.0
"""Warnings that may come with every frame, said once in a while, each kind by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PERIOD_S = 5.0


class ThrottledLog:
    """Says a kind of warning at most every `PERIOD_S`, by the steady clock: rclpy's own throttle goes by the system's
    clock, which may be set back, and takes all that is said in one line of code for one kind. Safe between threads.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._said_s: dict[str, float] = {}

    def warn(self, kind: str, sentence: str) -> None:
        """Say it, unless something of this kind was said just now."""
        now_s = time.monotonic()
        with self._lock:
            if now_s < self._said_s.get(kind, float("-inf")) + PERIOD_S:
                return
            self._said_s[kind] = now_s
        self._say(sentence)
