# SPDX-License-Identifier: Apache-2.0
"""Holds Ctrl-C and SIGTERM back while something is done that must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_HELD = (signal.SIGINT, signal.SIGTERM)


@dataclass
class HeldSignals:
    """number: of the signal that came and is still to be obeyed, 0 where there is none."""

    number: int = 0

    def obey(self) -> bool:
        """Whether one came. The caller sees to it: it is not sent on at the block's end."""
        came, self.number = bool(self.number), 0
        return came


@contextmanager
def signals_held() -> Iterator[HeldSignals]:
    """In the block the first Ctrl-C or SIGTERM is kept, and sent on at its end; another one meanwhile counts at once.

    Blocks may be nested. Python gives signals to the main thread alone, so in any other one nothing is held.
    """
    held = HeldSignals()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    before = {number: handler for number in _HELD if (handler := signal.getsignal(number)) is not None}

    def restore() -> None:
        for number, handler in reversed(before.items()):
            signal.signal(number, handler)

    def keep(number: int, frame: FrameType | None) -> None:
        del frame
        if held.number:
            restore()
            signal.raise_signal(number)
        held.number = number

    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, keep)
    try:
        yield held
    finally:
        restore()
        if held.number:
            signal.raise_signal(held.number)
