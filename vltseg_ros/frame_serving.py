# SPDX-License-Identifier: Apache-2.0
"""Serves frames from an activation to its end, over faults of the network: a watchdog and what recovers.

Each worker thread has one segmenter. Where the network is loaded anew, the old worker is retired with its segmenter, which
it frees itself when it can, and a new worker begins by loading. So a thread that hangs is never waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vltseg_core.runtime import Segmenter
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.frame_answering import FrameAnswering, NetworkWatch
from vltseg_ros.frame_slot import Frame, FrameSlots
from vltseg_ros.frame_worker import FramePlaces, FrameWorker
from vltseg_ros.frames_ahead import FramesAhead
from vltseg_ros.network_clock import NetworkClock
from vltseg_ros.recovery import Action, Fault, RecoveryPolicy, Remedy
from vltseg_ros.serving_shift import Shift

RELOADING = "network is being loaded anew"
_OUTSIDE_PATIENCE_S = 30.0
"""How long decoding and publishing may take beside the network, which may take its own time twice, once to be checked."""


@dataclass(frozen=True)
class ServingParts:
    """What serving needs of the node around it.

    answering: what answers frames with a segmenter. load_anew: a segmenter ready to serve, as a remedy wants it; called on
    a worker's thread, raises what loading raises. inference_timeout_s: how long a batch may take inside the network, 0 for
    ever. say: log a warning; from any thread.
    """

    answering: Callable[[Segmenter, NetworkWatch], FrameAnswering]
    load_anew: Callable[[Remedy], Segmenter]
    inference_timeout_s: Callable[[], float]
    say: Callable[[str], object]


class _Trouble(NamedTuple):
    """Why no network serves at the moment. since_s: by the steady clock."""

    fault: Fault
    sentence: str
    since_s: float


class Recovery(NamedTuple):
    """A return to service. took_s: from the fault's detection to a network that is ready again."""

    fault: Fault
    took_s: float


class FrameServing:
    """Takes frames in, has them answered, and keeps a network at it.

    Args:
        segmenter: what serves first. cameras: their names. statistics: where dropped and lost frames are counted.
        policy: decides after faults. load_timeout_s: how long loading anew may take.
    `put`, `watch` and `end` are called on one thread, the executor's.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        cameras: Sequence[str],
        statistics: FrameStatistics,
        parts: ServingParts,
        *,
        policy: RecoveryPolicy,
        load_timeout_s: float,
    ) -> None:
        self._cameras, self._statistics, self._parts = cameras, statistics, parts
        self._slots, self.upload_clock = self._places(segmenter), NetworkClock()
        self._policy, self._load_timeout_s = policy, load_timeout_s
        self._lock = threading.RLock()
        self._remedy: tuple[Remedy, float] | None = None
        self._trouble: _Trouble | None = None
        self._failure: str | None = None
        self._last_recovery: Recovery | None = None
        self._num_reloads = 0
        self._shift = Shift(self, segmenter)

    def start(self) -> None:
        """Start the first worker."""
        self._shift.worker.start()

    def put(self, frame: Frame) -> None:
        """Make this the camera's newest frame; while no network is ready it is counted and gone."""
        if self._trouble is None:
            self._slots.put(frame)
        else:
            self.count_reloading()

    def count_reloading(self) -> None:
        """A frame came while no network was ready."""
        self._statistics.count_rejected(RELOADING)

    def watch(self) -> None:
        """See whether the worker is alive and in time, and reload where that was decided. Call it a few times a second."""
        with self._lock:
            if self._failure is None:
                self._look_after_worker()
            if self._remedy is not None and time.monotonic() >= self._remedy[1]:
                self._reload(self._remedy[0])

    def end(self, patience_s: float) -> Segmenter | None:
        """Serve no more, publish no more. The segmenter, or None where there is none that could serve again.

        Waits for the frame in hand, `patience_s` at the most; a worker that is still busy then keeps its segmenter.
        """
        with self._lock:
            shift, self._remedy = self._shift, None
            shift.end()
        self._slots.close()
        if self._trouble is None and shift.worker.join(patience_s):
            return shift.segmenter
        shift.worker.retire()
        return None

    @property
    def is_busy(self) -> bool:
        """Whether the worker's thread has not come to its end."""
        return self._shift.worker.is_alive

    @property
    def segmenter(self) -> Segmenter | None:
        """What serves now, None while the network is being loaded."""
        return self._shift.segmenter if self._trouble is None else None

    @property
    def failure(self) -> str | None:
        """Why no network serves any more and none will, once it was given up."""
        return self._failure

    @property
    def warnings(self) -> list[str]:
        """What is out of order."""
        trouble = self._trouble
        return [f"{RELOADING} after: {trouble.fault.value} ({trouble.sentence})"] if trouble else []

    def values(self) -> dict[str, str]:
        """How often it was loaded anew, and the last recovery, as they are shown."""
        shown = {"network reloads": str(self._num_reloads)}
        if self._last_recovery:
            shown["last recovery"] = f"{self._last_recovery.fault.value}, {self._last_recovery.took_s:.2f} s"
        return shown

    def handle(self, shift: Shift, fault: Fault, sentence: str) -> Action:
        """A fault of a shift's network, and what comes of it; a shift that is over is not heard."""
        with self._lock:
            if shift is not self._shift or shift.is_over:
                return Action.GO_ON
            now_s = time.monotonic()
            remedy = self._policy.after(fault, now_s)
            if remedy.action in (Action.GO_ON, Action.CHECK):
                return remedy.action
            self._parts.say(f"{fault.value} ({sentence}): {remedy.action.value}")
            if remedy.action is Action.NEW_WORKER:
                self._shift = Shift(self, shift.segmenter, previous=shift.worker)
                self._shift.worker.start()
                return remedy.action
            since_s = self._trouble.since_s if self._trouble else now_s
            self._trouble = _Trouble(fault, sentence, since_s)
            if remedy.action is Action.RELOAD:
                self._remedy = (remedy, now_s + remedy.pause_s)
            else:
                self._failure = f"the network was given up after: {fault.value} ({sentence})"
            self._retire(shift)
            return remedy.action

    def note_ready(self, shift: Shift) -> None:
        """A shift's network was loaded."""
        with self._lock:
            if shift is self._shift and self._trouble is not None:
                fault = self._trouble.fault
                self._last_recovery = Recovery(fault, time.monotonic() - self._trouble.since_s)
                self._reject_waiting()
                self._trouble = None
                self._parts.say(f"serving again, {self._last_recovery.took_s:.2f} s after: {fault.value}")

    def _places(self, segmenter: Segmenter) -> FramePlaces:
        """Where the device uploads beside the network, pictures are made and uploaded while those before are segmented.

        On a CPU that would only take the network's cores for frames that a newer one may yet replace.
        """

        def on_drop(frame: Frame) -> None:
            self._statistics.count_dropped()

        if segmenter.uploads_beside_the_network:
            return FramesAhead(self._cameras, lambda frame: self._shift.picture(frame), on_drop)
        return FrameSlots(self._cameras, on_drop)

    def _look_after_worker(self) -> None:
        """A picture that takes long to decode is no fault of the network; a batch that never ends is one of the thread."""
        if not self._shift.is_over and self._shift.segmenter:
            self._look_after_places(self._shift, self._shift.segmenter)
        shift, work = self._shift, self._shift.worker.work
        if shift.is_over:
            return
        frames = work.frames if work else ()
        num_lost = 0 if shift.is_checking else len(frames)
        if shift.worker.has_died:
            self._statistics.count_error(num_lost, Fault.WORKER_DIED.value)
            died = Fault.WORKER_DIED if shift.segmenter else Fault.LOAD_FAILED
            self.handle(shift, died, f"the thread ended with {num_lost} frames in hand")
        elif work is not None and shift.worker.is_alive:
            taken_s = time.monotonic() - work.since_s
            if frames:
                hangs, busy_s = self._hangs(shift.network_clock.busy_s, taken_s), shift.network_clock.busy_s or taken_s
            else:
                hangs, busy_s = taken_s > self._load_timeout_s, taken_s
            if hangs:
                self._statistics.count_error(num_lost, Fault.HANG.value)
                what = f"{len(frames)} frames" if frames else "loading"
                self.handle(shift, Fault.HANG, f"{what} not done after {busy_s:.1f} s")

    def _hangs(self, network_s: float, in_hand_s: float) -> bool:
        """Whether what is in hand takes too long, in the network or in all; nothing does without `inference_timeout_s`."""
        timeout_s = self._parts.inference_timeout_s()
        return timeout_s > 0 and (network_s > timeout_s or in_hand_s > 2 * timeout_s + _OUTSIDE_PATIENCE_S)

    def _look_after_places(self, shift: Shift, segmenter: Segmenter) -> None:
        """The thread that makes pictures ahead, where there is one; another makes those to come."""
        upload_s, in_hand_s = self.upload_clock.busy_s, self._slots.in_hand_s
        if self._slots.has_died:
            fault, sentence = Fault.WORKER_DIED, "the thread that makes pictures ended"
        elif self._hangs(upload_s, in_hand_s):
            what = "an image's upload" if upload_s else "a picture"
            fault, sentence = Fault.HANG, f"{what} not done after {upload_s or in_hand_s:.1f} s"
        else:
            return
        former, self._slots = self._slots, self._places(segmenter)
        self.upload_clock = NetworkClock()  # an upload that hangs keeps its own
        self._statistics.count_error(len(former.empty()) + former.num_in_hand, fault.value)
        self.handle(shift, fault, sentence)
        former.close()  # only now: a worker that is retired frees what it holds, one that runs out of frames does not

    def _retire(self, shift: Shift) -> None:
        shift.end()
        shift.worker.retire()
        if shift.worker.has_died:
            shift.dispose()
        self._reject_waiting()

    def _reject_waiting(self) -> None:
        for _ in self._slots.empty():
            self.count_reloading()

    def _reload(self, remedy: Remedy) -> None:
        self._remedy = None
        self._num_reloads += 1
        hangs = self._trouble is not None and self._trouble.fault is Fault.HANG
        self._shift = Shift(self, None, remedy=remedy, previous=None if hangs else self._shift.worker)
        self._shift.worker.start()

    def new_worker(self, shift: Shift) -> FrameWorker:
        """A worker for a shift."""
        return FrameWorker(
            self._slots,
            shift.serve,
            max_batch_size=lambda: self._policy.batch_size(time.monotonic()),
            prepare=shift.prepare,
            dispose=shift.dispose,
        )

    @property
    def policy(self) -> RecoveryPolicy:
        """What decides."""
        return self._policy

    @property
    def parts(self) -> ServingParts:
        """The node around it."""
        return self._parts
