# SPDX-License-Identifier: Apache-2.0
"""The last frames and states before an error, kept in memory and written as a bag (mcap) when something goes wrong.

Serving never waits for it: messages are kept as they came, a thread of its own serialises and writes them, and what
happens while it writes is no further recording. Memory, size and number of recordings are bounded; a disk that is full is
said once.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from rclpy.serialization import serialize_message

from vltseg_core.errors import ConfigurationError
from vltseg_ros.bags import BagWriter
from vltseg_ros.parameters import NodeParameters

FOLDER_PREFIX = "vltseg_black_box_"
_NUM_STATES = 120
_FREE_BYTES = 256 * 2**20  # left to the rest of the vehicle
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 3600.0  # each pause is twice the last, so that the first recordings stay
_MESSAGE_OVERHEAD_BYTES = 1024


@dataclass(frozen=True)
class BlackBoxSettings:
    """folder: where recordings go. num_frames: most frames in one. max_bytes: of one.

    In memory there are twice as many bytes at most, while one is written and the next gathers. max_recordings: kept.
    """

    folder: Path
    num_frames: int = 30
    max_bytes: int = 256 * 2**20
    max_recordings: int = 10


class _Kept(NamedTuple):
    topic: str
    time_ns: int
    message: Any
    num_bytes: int


class BlackBox:
    """Remembers messages, and writes them when told. Safe between threads; nothing here raises or waits but `close`.

    say: told in a sentence what was written, or why not. steady_s: seconds by a steady clock.
    """

    def __init__(
        self, settings: BlackBoxSettings, say: Callable[[str], object], *, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._say, self._steady_s = settings, say, steady_s
        self._lock = threading.Lock()
        self._frames: deque[_Kept] = deque()
        self._frame_bytes = 0
        self._states: deque[_Kept] = deque(maxlen=_NUM_STATES)
        self._wanted: tuple[str, list[_Kept]] | None = None
        self._ended_s: float | None = None
        self._pause_s = _SHORTEST_PAUSE_S
        self._cannot_write = False
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="vltseg-black-box", daemon=True)
        self._thread.start()

    def remember_frame(self, topic: str, message: Any) -> None:
        """Keep a camera's message, with `data`, as it is; the oldest go where there are too many, or too many bytes."""
        kept = _Kept(topic, time.time_ns(), message, _size_of(message))
        with self._lock:
            self._frames.append(kept)
            self._frame_bytes += kept.num_bytes
            while self._frames and (
                len(self._frames) > self._settings.num_frames or self._frame_bytes > self._settings.max_bytes
            ):
                self._frame_bytes -= self._frames.popleft().num_bytes

    def remember_state(self, topic: str, message: Any) -> None:
        """Keep a message that says how things are."""
        with self._lock:
            self._states.append(_Kept(topic, time.time_ns(), message, _MESSAGE_OVERHEAD_BYTES))

    def write(self, reason: str) -> bool:
        """Have all that is remembered written; False where a recording is being written, or was a short while ago."""
        with self._changed:
            since_s = float("inf") if self._ended_s is None else self._steady_s() - self._ended_s
            if self._closed or since_s < self._pause_s or self._wanted is not None:
                return False
            if self._ended_s is not None:
                calm = since_s > 2 * _LONGEST_PAUSE_S
                self._pause_s = _SHORTEST_PAUSE_S if calm else min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._wanted = (reason, [*self._frames, *self._states])
            self._changed.notify_all()
        return True

    def close(self, patience_s: float = 10.0) -> bool:
        """End, when what was asked for is written; False if that takes longer than `patience_s`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._closed)
                if self._wanted is None:
                    return
                reason, kept = self._wanted
            self._write(reason, kept)
            del kept
            with self._changed:
                self._wanted, self._ended_s = None, self._steady_s()

    def _write(self, reason: str, kept: Sequence[_Kept]) -> None:
        try:
            path = self._recording(reason, kept)
        except Exception as error:  # whatever the disk or a message does: the vehicle drives on
            if not self._cannot_write:
                self._say(f"the black box cannot be written to '{self._settings.folder}': {error}; serving goes on without it")
            self._cannot_write = True
            return
        self._cannot_write = False
        self._say(f"black box written to '{path}' ({len(kept)} messages): {reason}")

    def _recording(self, reason: str, kept: Sequence[_Kept]) -> Path:
        folder = self._settings.folder
        folder.mkdir(parents=True, exist_ok=True)
        self._make_room(folder)
        free, wanted = shutil.disk_usage(folder).free, sum(message.num_bytes for message in kept)
        if free < wanted + _FREE_BYTES:
            raise OSError(
                f"the disk is full, {free / 1e6:.0f} MB are free and {(wanted + _FREE_BYTES) / 1e6:.0f} MB needed: make room"
            )
        path = folder / _folder_name(reason)
        try:
            with BagWriter(path) as bag:
                bag.describe({"reason": reason})
                for one in sorted(kept, key=lambda message: message.time_ns):
                    bag.write(one.topic, _type_name(one.message), one.time_ns, serialize_message(one.message))
        except BaseException:
            with contextlib.suppress(OSError):
                shutil.rmtree(path)
            raise
        return path

    def _make_room(self, folder: Path) -> None:
        """Remove the oldest recordings, so that with the next one there are no more than allowed."""
        recordings = sorted(path for path in folder.glob(f"{FOLDER_PREFIX}*") if path.is_dir() and not path.is_symlink())
        surplus = len(recordings) - self._settings.max_recordings + 1
        for path in recordings[: max(0, surplus)]:
            shutil.rmtree(path, ignore_errors=True)


def start_black_box(parameters: NodeParameters, say: Callable[[str], object]) -> BlackBox | None:
    """The black box that the parameters ask for, None where they ask for none.

    Raises ConfigurationError with what to do where its folder cannot be written.
    """
    if not parameters.black_box_path:
        return None
    folder = Path(parameters.black_box_path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # somebody's link of a name that is known would be followed
            pass
    except OSError as error:
        raise ConfigurationError(
            f"black_box_path '{folder}' cannot be written ({error.strerror}): name another folder, or leave it empty"
        ) from error
    settings = BlackBoxSettings(
        folder, parameters.black_box_frames, parameters.black_box_mb * 10**6, parameters.black_box_recordings
    )
    return BlackBox(settings, say)


def _size_of(message: Any) -> int:
    """Bytes in memory, at most; a text has up to four a letter, and any number of letters."""
    texts = (message.header.frame_id, getattr(message, "encoding", ""), getattr(message, "format", ""))
    return len(message.data) + 4 * sum(map(len, texts)) + _MESSAGE_OVERHEAD_BYTES


def _type_name(message: Any) -> str:
    """As sensor_msgs/msg/Image."""
    return f"{type(message).__module__.partition('.')[0]}/msg/{type(message).__name__}"


def _folder_name(reason: str) -> str:
    """By time, so that names sort as they were written; the reason in letters that every file system takes."""
    when = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S_%fZ")
    words = re.sub(r"[^a-z0-9]+", "_", reason.lower())[:40].strip("_")
    return f"{FOLDER_PREFIX}{when}_{words or 'error'}"
