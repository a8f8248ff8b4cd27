# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM: remembered while a step is under way, obeyed after it."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RunStopped(Exception):
    """A signal ended the run. exit_code: as a shell has it, 130 for Ctrl-C and 143 for SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class StopSignals:
    """Watches for signals inside a `with` block. Outside of training, and the second time, one raises RunStopped at once.

    received: the signal that came, 0 before.
    """

    def __init__(self) -> None:
        self.received = 0
        self._is_training = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self._listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what getsignal gave

    def training_begins(self) -> None:
        """From here on a step is finished first. Lightning has put its own handlers in the meantime."""
        self._is_training = True
        self._listen()

    def training_ends(self) -> None:
        """From here on there is nothing to save."""
        self._is_training = False

    def raise_stopped(self, stopped_elsewhere: bool = False) -> None:
        """End the run; in a distributed one also by a signal that reached another process."""
        raise RunStopped(self.received or (signal.SIGTERM if stopped_elsewhere else signal.SIGINT))

    def _listen(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        is_first = not self.received
        self.received = number
        if not (self._is_training and is_first):
            raise RunStopped(number)
