# SPDX-License-Identifier: Apache-2.0
"""The newest frame wins, cameras take turns, and the worker ends when told."""

from __future__ import annotations

import threading
import time

from vltseg_ros.frame_slot import Frame, FrameSlots


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


def test_a_taker_for_whom_it_is_over_takes_nothing() -> None:
    slots = FrameSlots(["front"], lambda frame: None)
    is_over = threading.Event()
    threading.Timer(0.1, lambda: (is_over.set(), slots.wake())).start()
    assert slots.take(1, is_over.is_set) == []
    slots.put(Frame("front", 1))
    assert slots.take(1, is_over.is_set) == []
    assert [frame.message for frame in slots.empty()] == [1] and slots.empty() == []


def test_no_camera_starves_and_all_are_served_alike() -> None:
    """Six cameras put frames all the time; one is fast, one slow, and the network takes two at once."""
    slots = FrameSlots("abcdef", lambda frame: None)
    served = dict.fromkeys("abcdef", 0)
    for turn in range(600):
        for camera in "abcdef":
            for _ in range(5 if camera == "a" else 1):
                slots.put(Frame(camera, turn))
        for frame in slots.take(2):
            served[frame.camera] += 1
    assert max(served.values()) - min(served.values()) <= 1
