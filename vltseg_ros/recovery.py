# SPDX-License-Identifier: Apache-2.0
"""What to do after which fault of the network. Pure: it is told what happened and when, and touches nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from vltseg_core.errors import DeviceLostError, DeviceMemoryError, InputError, NonFiniteScoresError


class Fault(Enum):
    """Why the network gave no answer; the value is the cause that frames are counted by."""

    OUT_OF_MEMORY = "out of memory"
    DEVICE_LOST = "device lost"
    NON_FINITE = "scores are no finite numbers"
    WRONG_ANSWER = "answer does not fit the image"
    ERROR = "error in the network"
    HANG = "network hangs"
    WORKER_DIED = "worker thread died"
    CHECK_FAILED = "network fails its own check"
    LOAD_FAILED = "loading failed"


class Action(Enum):
    """GO_ON: with what there is. CHECK: whether the network or the frames are at fault; CHECK_FAILED says the network.
    NEW_WORKER: with the same network. RELOAD: load the network anew. GIVE_UP: no more tries."""

    GO_ON = "go on"
    CHECK = "check"
    NEW_WORKER = "new worker"
    RELOAD = "reload"
    GIVE_UP = "give up"


class Remedy(NamedTuple):
    """What to do; the rest says how to reload.

    pause_s: wait first. in_fp32: for scores that a smaller precision spoils. batch_size: how many frames it is tried on.
    """

    action: Action
    pause_s: float = 0.0
    in_fp32: bool = False
    batch_size: int = 1


@dataclass(frozen=True)
class RecoveryLimits:
    """How much is tried.

    failures_in_a_row: without one answer between them, before the network is loaded anew. reloads: most in `window_s`,
    one more is giving up. hangs: of these in `window_s` that many is giving up, for each leaves a thread behind. Both are
    forgotten after `window_s` only where the network has answered since: loading may take longer than the window.
    smaller_batch_s: for how long fewer frames enter together after memory ran out. pause_s: before the second reload in
    the window, then twice as long each time.
    """

    failures_in_a_row: int = 3
    reloads: int = 4
    hangs: int = 2
    window_s: float = 120.0
    smaller_batch_s: float = 30.0
    pause_s: float = 1.0


class RecoveryPolicy:
    """Decides after each fault. Times are seconds of a steady clock. Not safe between threads."""

    def __init__(self, max_batch_size: int, limits: RecoveryLimits = RecoveryLimits()) -> None:
        self._limits, self._max_batch_size = limits, max_batch_size
        self._batch_size = max_batch_size
        self._smaller_until_s = float("-inf")
        self._failures_in_a_row = 0
        self._reloads_s: deque[float] = deque()
        self._hangs_s: deque[float] = deque()
        self._not_finite_reloads = 0
        self._has_answered = True

    def after(self, fault: Fault, now_s: float) -> Remedy:
        """What to do after this fault."""
        self._failures_in_a_row += 1
        for times in (self._reloads_s, self._hangs_s):
            while self._has_answered and times and times[0] < now_s - self._limits.window_s:
                times.popleft()
        if fault is Fault.HANG:
            self._hangs_s.append(now_s)
            return Remedy(Action.GIVE_UP) if len(self._hangs_s) >= self._limits.hangs else self._reload(now_s)
        if fault is Fault.LOAD_FAILED:
            self._smaller_until_s = now_s + self._limits.smaller_batch_s  # loading may have taken longer than that
            self._halve_batch(now_s)  # it may have been too much for the memory that there is
        if fault in (Fault.DEVICE_LOST, Fault.LOAD_FAILED, Fault.CHECK_FAILED):
            return self._reload(now_s)
        if fault in (Fault.OUT_OF_MEMORY, Fault.ERROR) and self.batch_size(now_s) > 1:
            self._failures_in_a_row = 0
            self._halve_batch(now_s)
            return Remedy(Action.GO_ON)
        if self._failures_in_a_row >= self._limits.failures_in_a_row:
            if fault is Fault.ERROR:
                self._failures_in_a_row = 0
                return Remedy(Action.CHECK)
            return self._reload(now_s, not_finite=fault is Fault.NON_FINITE)
        return Remedy(Action.NEW_WORKER if fault is Fault.WORKER_DIED else Action.GO_ON)

    def note_answer(self) -> None:
        """The network answered, so what failed before was no series."""
        self._failures_in_a_row = 0
        self._has_answered = True

    def batch_size(self, now_s: float) -> int:
        """How many frames may enter the network together now."""
        return self._batch_size if now_s < self._smaller_until_s else self._max_batch_size

    def _halve_batch(self, now_s: float) -> None:
        self._batch_size = max(1, self.batch_size(now_s) // 2)
        self._smaller_until_s = now_s + self._limits.smaller_batch_s

    def _reload(self, now_s: float, *, not_finite: bool = False) -> Remedy:
        """Eager first; where that still gives no finite numbers, in fp32."""
        self._failures_in_a_row = 0
        if len(self._reloads_s) >= self._limits.reloads:
            return Remedy(Action.GIVE_UP)
        earlier = len(self._reloads_s)
        self._reloads_s.append(now_s)
        self._has_answered = False
        self._not_finite_reloads += not_finite
        pause_s = self._limits.pause_s * 2 ** (earlier - 1) if earlier else 0.0
        return Remedy(Action.RELOAD, pause_s, self._not_finite_reloads > 1, self.batch_size(now_s))


def fault_of(error: Exception) -> Fault | None:
    """The fault that an exception of the network stands for; None where the image is to blame."""
    if isinstance(error, InputError):
        return None
    kinds = {
        DeviceMemoryError: Fault.OUT_OF_MEMORY,
        DeviceLostError: Fault.DEVICE_LOST,
        NonFiniteScoresError: Fault.NON_FINITE,
    }
    return next((fault for kind, fault in kinds.items() if isinstance(error, kind)), Fault.ERROR)
