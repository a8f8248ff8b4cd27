# SPDX-License-Identifier: Apache-2.0
"""The newest frame wins, cameras take turns, and the worker ends when told."""

from __future__ import annotations

import threading
import time

from vltseg_ros.frame_slot import Frame, FrameSlots, FrameWorker


def test_a_newer_frame_replaces_the_waiting_one_and_the_older_is_dropped() -> None:
    dropped: list[Frame] = []
    slots = FrameSlots(["front", "left"], dropped.append)
    for number in range(3):
        slots.put(Frame("front", number))
    slots.put(Frame("left", 7))
    assert [(f.camera, f.message) for f in slots.take(8)] == [("front", 2), ("left", 7)]
    assert [f.message for f in dropped] == [0, 1]


def test_cameras_take_turns_when_a_batch_cannot_hold_them_all() -> None:
    slots = FrameSlots(["a", "b", "c"], lambda frame: None)
    served = []
    for _ in range(6):
        for camera in "abc":
            slots.put(Frame(camera, None))
        served += [frame.camera for frame in slots.take(1)]
    assert served == ["a", "b", "c", "a", "b", "c"]


def test_take_waits_for_a_frame() -> None:
    slots = FrameSlots(["front"], lambda frame: None)
    threading.Timer(0.1, lambda: slots.put(Frame("front", "late"))).start()
    start = time.monotonic()
    assert [f.message for f in slots.take(1)] == ["late"]
    assert 0.05 < time.monotonic() - start < 2


def test_the_worker_serves_the_newest_and_stops_when_told() -> None:
    served: list[int] = []
    slow = threading.Event()
    slots = FrameSlots(["front"], lambda frame: None)

    def serve(frames: list[Frame]) -> None:
        served.append(frames[0].message)
        slow.wait(0.1)

    worker = FrameWorker(slots, serve, max_batch_size=1)
    worker.start()
    for number in range(50):
        slots.put(Frame("front", number))
        time.sleep(0.01)
    time.sleep(0.3)
    assert served[-1] == 49 and len(served) < 15 and served == sorted(served)
    assert worker.stop(2.0) and not worker.is_alive


def test_stop_says_when_a_frame_is_still_in_hand() -> None:
    hold = threading.Event()
    slots = FrameSlots(["front"], lambda frame: None)
    worker = FrameWorker(slots, lambda frames: hold.wait(5) and None, max_batch_size=1)
    worker.start()
    slots.put(Frame("front", 0))
    time.sleep(0.1)
    assert not worker.stop(0.1)
    hold.set()
    assert worker.stop(2.0)
