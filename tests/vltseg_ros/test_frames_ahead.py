# SPDX-License-Identifier: Apache-2.0
"""Frames are prepared while others are served, and no frame is served because it was prepared early."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from vltseg_ros.frame_slot import Frame
from vltseg_ros.frames_ahead import FramesAhead


class Preparation:
    """Doubles the message when it is let; a negative one cannot be prepared."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.let.set()
        self.begun: list[int] = []
        self.done: list[int] = []

    def __call__(self, frame: Frame) -> int | None:
        self.begun.append(frame.message)
        assert self.let.wait(10)
        self.done.append(frame.message)
        return 2 * frame.message if frame.message >= 0 else None


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def preparation() -> Preparation:
    return Preparation()


@pytest.fixture
def dropped() -> list[int]:
    return []


@pytest.fixture
def frames(preparation: Preparation, dropped: list[int]) -> Iterator[FramesAhead[int]]:
    ahead = FramesAhead(["front", "left"], preparation, lambda frame: dropped.append(frame.message))
    yield ahead
    preparation.let.set()
    ahead.close()


def test_a_frame_is_prepared_before_it_is_asked_for(frames: FramesAhead[int], preparation: Preparation) -> None:
    frames.put(Frame("front", 1))
    until(lambda: preparation.done == [1])
    assert frames.take(8) == [2]


def test_a_prepared_frame_gives_way_to_a_newer_one_that_is_still_being_prepared(
    frames: FramesAhead[int], preparation: Preparation, dropped: list[int]
) -> None:
    frames.put(Frame("front", 1))
    until(lambda: preparation.done == [1])
    preparation.let.clear()
    frames.put(Frame("front", 2))
    until(lambda: preparation.begun == [1, 2])
    threading.Timer(0.1, preparation.let.set).start()
    assert frames.take(8) == [4]
    until(lambda: dropped == [1])


def test_a_frame_that_waits_for_its_preparation_gives_way_to_a_newer_one(
    frames: FramesAhead[int], preparation: Preparation, dropped: list[int]
) -> None:
    preparation.let.clear()
    frames.put(Frame("front", 1))
    until(lambda: preparation.begun == [1])
    for message in (2, 3):
        frames.put(Frame("front", message))
    assert dropped == [2]
    preparation.let.set()
    assert frames.take(8) == [6]
    assert preparation.done == [1, 3]


def test_frames_that_come_faster_than_they_are_prepared_still_get_through(frames: FramesAhead[int]) -> None:
    stop = threading.Event()

    def flood() -> None:
        for message in range(10**9):
            frames.put(Frame("front", message))
            if stop.is_set():
                return

    thread = threading.Thread(target=flood)
    thread.start()
    taken = [frames.take(8)[0] for _ in range(20)]
    stop.set()
    thread.join()
    assert taken == sorted(set(taken))


def test_where_the_newest_cannot_be_prepared_the_one_before_stands_in(frames: FramesAhead[int], dropped: list[int]) -> None:
    frames.put(Frame("front", 1))
    frames.put(Frame("left", 5))
    until(lambda: len(frames._ready) == 2)
    frames.put(Frame("front", -1))
    assert sorted(frames.take(8)) == [2, 10]
    assert dropped == []


def test_a_frame_that_cannot_be_prepared_is_waited_past(frames: FramesAhead[int]) -> None:
    threading.Timer(0.1, lambda: frames.put(Frame("front", 3))).start()
    frames.put(Frame("front", -1))
    assert frames.take(8) == [6]


def test_cameras_take_turns_when_a_batch_cannot_hold_them_all(frames: FramesAhead[int]) -> None:
    taken = []
    for message in range(4):
        frames.put(Frame("front", message))
        frames.put(Frame("left", 10 + message))
        taken += frames.take(1)
    assert taken == [0, 22, 4, 26]


def test_cameras_that_are_faster_than_preparing_are_all_served() -> None:
    served: list[str] = []
    cameras = list("abcdef")

    def prepare(frame: Frame) -> str:
        time.sleep(0.01)
        return frame.camera

    ahead = FramesAhead(cameras, prepare, lambda frame: None)
    end = threading.Event()

    def flood() -> None:
        while not end.wait(0.02):
            for camera in cameras:
                ahead.put(Frame(camera, 0))

    def wake() -> None:
        if not end.wait(20):
            ahead.close()

    threads = [threading.Thread(target=flood), threading.Thread(target=wake)]
    for thread in threads:
        thread.start()
    try:
        while set(served) != set(cameras) and (batch := ahead.take(6)):
            served += batch
    finally:
        end.set()
        for thread in threads:
            thread.join()
        ahead.close()
    assert set(served) == set(cameras)


def test_closing_wakes_whoever_waits(frames: FramesAhead[int]) -> None:
    threading.Timer(0.1, frames.close).start()
    assert frames.take(8) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_is_told_from_one_that_was_closed(frames: FramesAhead[int], preparation: Preparation) -> None:
    def die(frame: Frame) -> None:
        raise SystemExit

    mortal = FramesAhead(["front"], die, lambda frame: None)
    assert not mortal.has_died
    mortal.put(Frame("front", 1))
    until(lambda: mortal.has_died)
    assert mortal.num_in_hand == 1
    frames.close()
    assert not frames.has_died
