# SPDX-License-Identifier: Apache-2.0
"""Holds Ctrl-C and SIGTERM back while something is done that must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class HeldSignals:
    """number: of the signal that came and is still to be obeyed, 0 where there is none."""

    number: int = 0

    def obey(self) -> int:
        """The number of the signal that came, 0 for none. The caller sees to it: it is not sent on at the block's end."""
        number, self.number = self.number, 0
        return number


@contextmanager
def signals_held() -> Iterator[HeldSignals]:
    """In the block the first Ctrl-C or SIGTERM is kept, and sent on at its end; another one meanwhile counts at once.

    A SIGTERM that would end the process on the spot raises SystemExit instead, so that the caller can clean up. Signals that
    are ignored stay so. Blocks may be nested. Python gives signals to the main thread alone, so in any other one nothing is
    held. Handlers that are not Python's own, such as rclpy's, do not come back: start rclpy without its handlers.
    """
    held = HeldSignals()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        try:
            if signal.SIGTERM in before:
                signal.signal(signal.SIGTERM, before[signal.SIGTERM])
        finally:  # even where that handler was called at once, and raised
            if signal.SIGINT in before:
                signal.signal(signal.SIGINT, before[signal.SIGINT])

    def send_on(number: int) -> None:
        if before[number] is signal.SIG_DFL:
            raise SystemExit(128 + number)
        signal.raise_signal(number)

    def keep(number: int, frame: FrameType | None) -> None:
        del frame
        first = held.obey()
        if not first:
            held.number = number
            return
        restore()
        try:
            send_on(first)
        finally:  # an outer block counts them both
            send_on(number)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler not in (None, signal.SIG_IGN):
                before[number] = handler
                signal.signal(number, keep)
        yield held
    finally:
        restore()
        if number_left := held.obey():
            send_on(number_left)
