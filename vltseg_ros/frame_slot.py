# SPDX-License-Identifier: Apache-2.0
"""One place a camera for its newest frame. Nothing queues behind the newest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Frame:
    """A message as it came. received_s: when, by the process's steady clock."""

    camera: str
    message: Any
    received_s: float = field(default_factory=time.monotonic)


class FrameSlots:
    """The newest frame of each camera; putting one where one waits drops the older. Safe between threads."""

    def __init__(self, cameras: Sequence[str], on_drop: Callable[[Frame], None]) -> None:
        self._waiting: dict[str, Frame | None] = dict.fromkeys(cameras)
        self._turns = list(cameras)
        self._on_drop = on_drop
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame: Frame) -> None:
        """Make this the camera's newest frame."""
        with self._changed:
            older = self._waiting[frame.camera]
            self._waiting[frame.camera] = frame
            self._changed.notify()
        if older is not None:
            self._on_drop(older)

    def take(self, most: int, is_over: Callable[[], bool] = lambda: False) -> list[Frame]:
        """Wait for frames and take up to `most`, one a camera; cameras served longest ago come first.

        An empty list says that the slots were closed, or that it is over for this taker (see `wake`).
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or is_over() or any(self._waiting.values()))
            if self._closed or is_over():
                return []
            served = [camera for camera in self._turns if self._waiting[camera] is not None][:most]
            self._turns = [camera for camera in self._turns if camera not in served] + served
            frames = [frame for camera in served if (frame := self._waiting[camera]) is not None]
            self._waiting.update(dict.fromkeys(served))
            return frames

    def empty(self) -> list[Frame]:
        """Take all frames that wait, at once."""
        with self._changed:
            frames = [frame for frame in self._waiting.values() if frame is not None]
            self._waiting.update(dict.fromkeys(self._waiting))
            return frames

    def wake(self) -> None:
        """Let whoever waits see whether it is over."""
        with self._changed:
            self._changed.notify_all()

    @property
    def has_died(self) -> bool:
        """There is no thread that could."""
        return False

    @property
    def num_in_hand(self) -> int:
        """Nor one that could be at a frame."""
        return 0

    @property
    def in_hand_s(self) -> float:
        """Nor for any time."""
        return 0.0

    def close(self) -> None:
        """Wake whoever waits, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
