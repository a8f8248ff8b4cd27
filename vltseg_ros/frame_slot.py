# SPDX-License-Identifier: Apache-2.0
"""One place a camera for its newest frame, and the thread that serves them. Nothing queues behind the newest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

Taken = TypeVar("Taken")


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

    def take(self, most: int) -> list[Frame]:
        """Wait for frames and take up to `most`, one a camera; cameras served longest ago come first.

        An empty list says that the slots were closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
            if self._closed:
                return []
            served = [camera for camera in self._turns if self._waiting[camera] is not None][:most]
            self._turns = [camera for camera in self._turns if camera not in served] + served
            frames = [frame for camera in served if (frame := self._waiting[camera]) is not None]
            self._waiting.update(dict.fromkeys(served))
            return frames

    def close(self) -> None:
        """Wake whoever waits, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Takes(Protocol[Taken]):
    """Where a worker gets its work: `FrameSlots`, or `FramesAhead`."""

    def take(self, most: int) -> list[Taken]: ...

    def close(self) -> None: ...


class FrameWorker(Generic[Taken]):
    """The one thread that serves frames. `serve` gets a non-empty list of what was taken and must not raise."""

    def __init__(self, slots: Takes[Taken], serve: Callable[[list[Taken]], None], *, max_batch_size: int) -> None:
        self._slots, self._serve, self._max_batch_size = slots, serve, max_batch_size
        self._thread = threading.Thread(target=self._run, name="vltseg-frames", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def stop(self, patience_s: float) -> bool:
        """Close the slots and wait for the frame in hand; False if the thread is still busy after `patience_s`."""
        self._slots.close()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while frames := self._slots.take(self._max_batch_size):
            self._serve(frames)
