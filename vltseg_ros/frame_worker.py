# SPDX-License-Identifier: Apache-2.0
"""The thread that serves frames. It cannot be killed, so it can be watched, and left to itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from vltseg_ros.frame_slot import Frame

THREAD_NAME = "vltseg-frames"


class Work(NamedTuple):
    """What a worker is at, the network or not. since_s: by the steady clock. frames: those in hand; none while it prepares."""

    since_s: float
    frames: Sequence[Any]


class FramePlaces(Protocol):
    """Where frames wait for a worker: `FrameSlots`, or `FramesAhead`, which gives their pictures."""

    def put(self, frame: Frame) -> None:
        """Make this the camera's newest frame."""

    def take(self, most: int, is_over: Callable[[], bool] = ...) -> Sequence[Any]:
        """Wait for up to `most` of them; an empty list when closed, or over."""

    def empty(self) -> list[Frame]:
        """Take all that wait, at once."""

    def wake(self) -> None:
        """Let whoever waits see whether it is over."""

    def close(self) -> None:
        """Wake whoever waits, for good."""

    @property
    def has_died(self) -> bool:
        """Whether a thread that gives what is taken ended although nothing told it to."""

    @property
    def num_in_hand(self) -> int:
        """How many frames that thread is at, or was when it died."""

    @property
    def in_hand_s(self) -> float:
        """For how long it has been at them, 0 without one."""


class FrameWorker:
    """One thread: `prepare`, then `serve` for every batch until it is stopped or retired, and `dispose` if retired.

    Args:
        slots: where frames come from. serve: gets a non-empty list; what it lets through ends the thread.
        max_batch_size: most frames at once, asked before each batch.
        prepare: what comes first, on the same thread; False ends it. dispose: frees what a retired worker leaves behind.
    """

    def __init__(
        self,
        slots: FramePlaces,
        serve: Callable[[Sequence[Any]], None],
        *,
        max_batch_size: Callable[[], int],
        prepare: Callable[[], bool] = lambda: True,
        dispose: Callable[[], None] = lambda: None,
    ) -> None:
        self._slots, self._serve, self._max_batch_size = slots, serve, max_batch_size
        self._prepare, self._dispose = prepare, dispose
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._is_retired = self._has_ended = False
        self._work: Work | None = None

    def start(self) -> None:
        """Start the thread."""
        self._work = Work(time.monotonic(), ())
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    @property
    def has_died(self) -> bool:
        """Whether the thread ended although nothing told it to; its `work` is then what it was at."""
        return self._thread.ident is not None and not self._has_ended and not self._thread.is_alive()

    @property
    def work(self) -> Work | None:
        """What it is at, None while it waits for frames."""
        return self._work

    def retire(self) -> None:
        """Serve no further frame and dispose of everything once the one in hand is done. Does not wait."""
        self._is_retired = True
        self._slots.wake()

    def join(self, patience_s: float) -> bool:
        """Wait for the thread's end; False if it still runs after `patience_s`."""
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._serve_frames()
            self._has_ended = True
        finally:
            if self._is_retired:
                self._dispose()

    def _serve_frames(self) -> None:
        if not self._prepare():
            return
        while True:
            self._work = None
            frames = self._slots.take(self._max_batch_size(), lambda: self._is_retired)
            if not frames:
                return
            self._work = Work(time.monotonic(), frames)
            self._serve(frames)
