# SPDX-License-Identifier: Apache-2.0
"""The worker serves the newest frame, ends when told, and can be watched and left to itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from vltseg_ros.frame_slot import Frame, FrameSlots
from vltseg_ros.frame_worker import FrameWorker


def one() -> int:
    return 1


def slots_of(*cameras: str) -> FrameSlots:
    return FrameSlots(cameras or ("front",), lambda frame: None)


def wait_for(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_the_worker_serves_the_newest_and_stops_when_told() -> None:
    served: list[int] = []
    may_go_on = threading.Event()
    slots = slots_of()

    def serve(frames: list[Frame]) -> None:
        served.append(frames[0].message)
        assert may_go_on.wait(20)

    worker = FrameWorker(slots, serve, max_batch_size=one)
    worker.start()
    slots.put(Frame("front", 0))
    wait_for(lambda: served == [0])
    for number in range(1, 50):
        slots.put(Frame("front", number))
    may_go_on.set()
    wait_for(lambda: served[1:])
    assert served == [0, 49]
    slots.close()
    assert worker.join(2.0) and not worker.is_alive and not worker.has_died


def test_a_frame_in_hand_is_seen_and_waited_for() -> None:
    hold = threading.Event()
    slots = slots_of()
    worker = FrameWorker(slots, lambda frames: hold.wait(5) and None, max_batch_size=one)
    worker.start()
    wait_for(lambda: worker.work is None)
    slots.put(Frame("front", 7))
    wait_for(lambda: worker.work)
    assert [frame.message for frame in worker.work.frames] == [7] and worker.work.since_s <= time.monotonic()
    slots.close()
    assert not worker.join(0.1)
    hold.set()
    assert worker.join(2.0)


def test_a_retired_worker_takes_no_further_frame_and_frees_what_it_held() -> None:
    hold, freed = threading.Event(), threading.Event()
    served: list[int] = []
    slots = slots_of()

    def serve(frames: list[Frame]) -> None:
        served.append(frames[0].message)
        hold.wait(5)

    worker = FrameWorker(slots, serve, max_batch_size=one, dispose=freed.set)
    worker.start()
    slots.put(Frame("front", 1))
    wait_for(lambda: served)
    worker.retire()
    slots.put(Frame("front", 2))
    assert not freed.is_set()
    hold.set()
    assert freed.wait(2) and worker.join(2) and served == [1] and not worker.has_died
    assert [frame.message for frame in slots.empty()] == [2]


def test_an_idle_worker_retires_at_once() -> None:
    freed = threading.Event()
    worker = FrameWorker(slots_of(), lambda frames: None, max_batch_size=one, dispose=freed.set)
    worker.start()
    wait_for(lambda: worker.work is None)
    worker.retire()
    assert worker.join(2) and freed.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_is_told_from_one_that_ended() -> None:
    def serve(frames: list[Frame]) -> None:
        raise SystemExit

    slots = slots_of()
    worker = FrameWorker(slots, serve, max_batch_size=one)
    assert not worker.has_died
    worker.start()
    slots.put(Frame("front", 1))
    assert worker.join(2) and worker.has_died and len(worker.work.frames) == 1


def test_a_worker_that_cannot_prepare_serves_nothing() -> None:
    slots = slots_of()
    slots.put(Frame("front", 1))
    worker = FrameWorker(slots, lambda frames: None, max_batch_size=one, prepare=lambda: False)
    worker.start()
    assert worker.join(2) and not worker.has_died and len(slots.empty()) == 1
