# SPDX-License-Identifier: Apache-2.0
"""A stage on which frames are served by stand-ins that fail as they are told to, without ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.frame_serving import FrameServing, ServingParts
from vltseg_ros.frame_slot import Frame
from vltseg_ros.recovery import Fault, RecoveryLimits, RecoveryPolicy, Remedy

TIMEOUT_S = 0.2
LIMITS = RecoveryLimits(pause_s=0.05)


class Network:
    """Stands in for a segmenter."""

    def __init__(self, uploads_beside_the_network: bool = False) -> None:
        self.uploads_beside_the_network = uploads_beside_the_network
        self.is_open = True
        self.is_well = True

    def warm_up(self) -> float:
        if not self.is_well:
            raise ValueError("not well")
        return 0.0

    def close(self) -> None:
        self.is_open = False


class Answers:
    """Stands in for the answering: a frame's message is called with the network, and what it gives is an answer.

    `stage.decode` comes before, outside the network; with a thread that makes pictures ahead on that, then `stage.upload`.
    """

    def __init__(self, stage: Stage, network: Network, watch: Any) -> None:
        self._stage, self._network, self._watch = stage, network, watch
        self._has_ended = False

    def end(self) -> None:
        self._has_ended = True

    def prepare(self, frame: Frame) -> Frame:
        self._stage.decode()
        with self._watch.uploading():
            self._stage.upload()
        return frame

    def serve(self, frames: list[Frame]) -> None:
        for frame in frames:
            if not self._network.uploads_beside_the_network:
                self._stage.decode()
            with self._watch.segmenting():
                result = frame.message(self._network)
            if isinstance(result, Fault):
                self._watch.note_fault(result, "injected")
            elif not self._has_ended:
                self._watch.note_answer()
                self._stage.answers.append((self._network, result))


class Stage:
    """What serves, with the faults that loading has; `watch` is called all the time."""

    def __init__(self, uploads_beside_the_network: bool = False) -> None:
        self.answers: list[tuple[Network, Any]] = []
        self.said: list[str] = []
        self.loaded: list[Network] = []
        self.remedies: list[Remedy] = []
        self.before_loading: Callable[[], object] = lambda: None
        self.decode: Callable[[], object] = lambda: None
        self.upload: Callable[[], object] = lambda: None
        self.statistics = FrameStatistics()
        self.first = Network(uploads_beside_the_network)
        parts = ServingParts(
            lambda network, watch: Answers(self, network, watch),  # type: ignore[arg-type, return-value]  # stand-ins
            self.load,  # type: ignore[arg-type]  # loads a stand-in
            lambda: TIMEOUT_S,
            self.said.append,
        )
        self.serving = FrameServing(
            self.first,  # type: ignore[arg-type]  # stands in for a Segmenter
            ["front"],
            self.statistics,
            parts,
            policy=RecoveryPolicy(1, LIMITS),
            load_timeout_s=TIMEOUT_S,
        )
        self.serving.start()

    def load(self, remedy: Remedy) -> Any:
        self.remedies.append(remedy)
        self.before_loading()
        self.loaded.append(Network(self.first.uploads_beside_the_network))
        return self.loaded[-1]

    def wait_for(self, condition: Callable[[], object], timeout_s: float = 5.0) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, (self.said, self.statistics.counts)
            self.serving.watch()
            time.sleep(0.005)

    def ask(self, message: Callable[[Network], Any]) -> None:
        """Have a frame taken in hand."""
        self.serving.put(Frame("front", message))
        self.wait_for(lambda: not any(self.serving._slots._waiting.values()))

    def answered_by(self) -> Network:
        """Who answers now."""
        self.wait_for(lambda: self.serving.segmenter)
        before = len(self.answers)
        self.serving.put(Frame("front", lambda network: "answer"))
        self.wait_for(lambda: len(self.answers) > before)
        return self.answers[-1][0]


class Deadly(dict[str, Any]):
    """Ends one thread that looks at it, with no chance to say so."""

    def __init__(self, victim: threading.Thread, content: dict[str, Any]) -> None:
        super().__init__(content)
        self._victim = victim

    def _strike(self) -> None:
        if threading.current_thread() is self._victim:
            raise SystemExit

    def __bool__(self) -> bool:
        self._strike()
        return len(self) > 0

    def values(self) -> Any:
        self._strike()
        return super().values()


def kill(thread: threading.Thread, places: Any, looked_at: str) -> None:
    """End a thread that waits for frames; looked_at: what it looks at when it wakes."""
    setattr(places, looked_at, Deadly(thread, getattr(places, looked_at)))
    places.wake()
