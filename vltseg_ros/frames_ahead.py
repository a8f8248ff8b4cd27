# SPDX-License-Identifier: Apache-2.0
"""Prepares each camera's newest frame while the network is busy with the one before. The newest still wins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from vltseg_ros.frame_slot import Frame

Prepared = TypeVar("Prepared")
_STOP_PATIENCE_S = 1.0


class _Arrived(NamedTuple):
    frame: Frame
    number: int


class _Ready(NamedTuple, Generic[Prepared]):
    frame: Frame
    prepared: Prepared


class FramesAhead(Generic[Prepared]):
    """As `FrameSlots`, but what is taken was prepared before, in a thread of its own.

    What was a camera's newest frame when `take` was called is waited for, rather than an older one given that is ready;
    only where the newest cannot be prepared does an older one stand in.

    Args:
        cameras: their names.
        prepare: a frame to what is taken, None where there is nothing to take; must not raise.
        on_drop: told of each frame that a newer one replaced, prepared or not.
    """

    def __init__(
        self, cameras: Sequence[str], prepare: Callable[[Frame], Prepared | None], on_drop: Callable[[Frame], None]
    ) -> None:
        self._prepare, self._on_drop = prepare, on_drop
        self._turns = list(cameras)
        self._num_put = dict.fromkeys(cameras, 0)
        self._num_tried = dict.fromkeys(cameras, 0)
        """Number of the newest frame that was prepared or could not be."""
        self._arrived: dict[str, _Arrived] = {}
        self._ready: dict[str, _Ready[Prepared]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._in_hand_since_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="vltseg-frames-ahead", daemon=True)
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Make this the camera's newest frame."""
        with self._changed:
            self._num_put[frame.camera] += 1
            older = self._arrived.get(frame.camera)  # the newer one keeps its turn, else the last cameras never come to theirs
            self._arrived[frame.camera] = _Arrived(frame, self._num_put[frame.camera])
            self._changed.notify_all()
        if older is not None:
            self._on_drop(older.frame)

    def take(self, most: int, is_over: Callable[[], bool] = lambda: False) -> list[Prepared]:
        """Wait for frames and take up to `most`, one a camera; cameras served longest ago come first.

        An empty list says that it was closed, or that it is over for this taker (see `wake`).
        """
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._closed or is_over() or self._ready or self._arrived)
                newest = dict(self._num_put)
                self._changed.wait_for(lambda: self._closed or is_over() or self._were_tried(newest))  # noqa: B023
                if self._closed or is_over():
                    return []
                served = [camera for camera in self._turns if camera in self._ready][:most]
                if served:
                    self._turns = [camera for camera in self._turns if camera not in served] + served
                    return [self._ready.pop(camera).prepared for camera in served]

    def empty(self) -> list[Frame]:
        """Take all frames that wait, prepared or not, at once. One that is just being prepared is not among them."""
        with self._changed:
            frames = [waiting.frame for waiting in (*self._arrived.values(), *self._ready.values())]
            for arrived in self._arrived.values():
                self._num_tried[arrived.frame.camera] = arrived.number
            self._arrived.clear()
            self._ready.clear()
            self._changed.notify_all()
            return frames

    def wake(self) -> None:
        """Let whoever waits see whether it is over."""
        with self._changed:
            self._changed.notify_all()

    @property
    def has_died(self) -> bool:
        """Whether the thread ended although it was not closed."""
        return not self._closed and not self._thread.is_alive()

    @property
    def num_in_hand(self) -> int:
        """Whether a frame is being prepared, or was when the thread died: 1 or 0."""
        return int(self._in_hand_since_s is not None)

    @property
    def in_hand_s(self) -> float:
        """For how long, in seconds; 0 while none is."""
        since_s = self._in_hand_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def close(self) -> None:
        """Wake whoever waits, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_STOP_PATIENCE_S)

    def _were_tried(self, newest: dict[str, int]) -> bool:
        return all(self._num_tried[camera] >= number for camera, number in newest.items())

    def _run(self) -> None:
        while (arrived := self._next()) is not None:
            self._in_hand_since_s = time.monotonic()
            prepared = self._prepare(arrived.frame)
            self._in_hand_since_s = None
            with self._changed:
                camera, older = arrived.frame.camera, None
                self._num_tried[camera] = arrived.number
                if prepared is not None:
                    older = self._ready.get(camera)
                    self._ready[camera] = _Ready(arrived.frame, prepared)
                self._changed.notify_all()
            if older is not None:
                self._on_drop(older.frame)

    def _next(self) -> _Arrived | None:
        """The frame that came first of those that wait; None once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._arrived)
            return None if self._closed else self._arrived.pop(next(iter(self._arrived)))
