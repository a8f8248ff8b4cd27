# SPDX-License-Identifier: Apache-2.0
"""Serving goes on over faults, without ROS: workers are watched, retired, replaced; nothing of a retired one is heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from tests.vltseg_ros.serving_stage import TIMEOUT_S, Network, Stage, kill
from vltseg_ros import frame_serving
from vltseg_ros.frame_serving import RELOADING
from vltseg_ros.frame_slot import Frame
from vltseg_ros.recovery import Fault


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.serving.end(1.0)


@pytest.fixture
def ahead() -> Iterator[Stage]:
    """With a thread that makes pictures and uploads them."""
    stage = Stage(uploads_beside_the_network=True)
    yield stage
    stage.serving.end(1.0)


def test_a_lost_device_is_replaced_and_the_old_network_freed(stage: Stage) -> None:
    assert stage.answered_by() is stage.first and stage.serving.segmenter is stage.first
    stage.ask(lambda network: Fault.DEVICE_LOST)
    stage.wait_for(lambda: stage.loaded and stage.serving.segmenter is stage.loaded[0])
    assert stage.answered_by() is stage.loaded[0] and not stage.first.is_open
    assert stage.serving.values()["network reloads"] == "1" and stage.serving.warnings == []
    assert stage.serving.values()["last recovery"].startswith("device lost, ")


def test_frames_that_come_while_it_is_loaded_anew_are_counted_and_gone(stage: Stage) -> None:
    hold = threading.Event()
    stage.before_loading = lambda: hold.wait(5)
    stage.ask(lambda network: Fault.DEVICE_LOST)
    stage.wait_for(lambda: stage.remedies)
    for _ in range(3):
        stage.serving.put(Frame("front", lambda network: "stale"))
    assert stage.serving.segmenter is None and stage.serving.warnings == [f"{RELOADING} after: device lost (injected)"]
    hold.set()
    assert stage.answered_by() is stage.loaded[0]
    assert stage.statistics.counts.rejected == {RELOADING: 3} and [a for _, a in stage.answers] == ["answer"]


def test_a_hanging_worker_is_left_to_itself_and_its_late_answer_too(stage: Stage) -> None:
    hold, woke = threading.Event(), threading.Event()
    stage.ask(lambda network: (hold.wait(5), woke.set()))
    stage.wait_for(lambda: stage.loaded)
    assert stage.answered_by() is stage.loaded[0]
    assert stage.first.is_open, "what hangs may not be freed under its feet"
    hold.set()
    assert woke.wait(2)
    stage.wait_for(lambda: not stage.first.is_open)
    assert [answer for _, answer in stage.answers] == ["answer"] and stage.serving.segmenter is stage.loaded[0]
    assert stage.statistics.counts.lost == {Fault.HANG.value: 1}


def test_a_second_hang_is_given_up_and_no_frame_taken_any_more(stage: Stage) -> None:
    hold = threading.Event()
    stage.ask(lambda network: hold.wait(5))
    stage.wait_for(lambda: stage.loaded and stage.serving.segmenter)
    stage.ask(lambda network: hold.wait(5))
    stage.wait_for(lambda: stage.serving.failure)
    assert "given up after: network hangs (1 frames not done after 0." in str(stage.serving.failure)
    stage.serving.put(Frame("front", lambda network: "answer"))
    start = time.monotonic()
    assert stage.serving.end(5.0) is None and time.monotonic() - start < 1
    hold.set()
    assert stage.answers == []


def test_loading_that_hangs_is_given_up_too(stage: Stage) -> None:
    hold = threading.Event()
    stage.before_loading = lambda: hold.wait(5)
    stage.ask(lambda network: hold.wait(5))
    stage.wait_for(lambda: stage.serving.failure)
    assert "loading not done after 0." in str(stage.serving.failure)
    hold.set()
    stage.wait_for(lambda: stage.loaded and not stage.loaded[0].is_open)


def test_loading_that_fails_is_tried_again_and_then_given_up(stage: Stage) -> None:
    def fail() -> None:
        raise RuntimeError("no device")

    stage.before_loading = fail
    stage.ask(lambda network: Fault.DEVICE_LOST)
    stage.wait_for(lambda: stage.serving.failure)
    assert "loading failed (RuntimeError: no device)" in str(stage.serving.failure)
    assert [remedy.pause_s for remedy in stage.remedies] == [0, 0.05, 0.1, 0.2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_while_loading_counts_as_a_failed_load(stage: Stage) -> None:
    def die() -> None:
        stage.before_loading = lambda: None
        raise SystemExit

    stage.before_loading = die
    stage.ask(lambda network: Fault.DEVICE_LOST)
    stage.wait_for(lambda: stage.loaded)
    assert stage.answered_by() is stage.loaded[0] and len(stage.remedies) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_is_replaced_and_at_last_its_network_too(stage: Stage) -> None:
    def die(network: Network) -> None:
        raise SystemExit

    for number in range(1, 4):
        stage.ask(die)
        stage.wait_for(lambda number=number: stage.statistics.counts.errors == number)
    stage.wait_for(lambda: stage.loaded)
    assert stage.answered_by() is stage.loaded[0] and not stage.first.is_open
    assert stage.statistics.counts.lost == {Fault.WORKER_DIED.value: 3}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_while_it_waits_is_replaced(stage: Stage) -> None:
    assert stage.answered_by() is stage.first
    idle = stage.serving._shift.worker
    stage.wait_for(lambda: idle.work is None)
    kill(idle._thread, idle._slots, "_waiting")
    stage.wait_for(lambda: stage.said)
    assert stage.answered_by() is stage.first and stage.said == [
        "worker thread died (the thread ended with 0 frames in hand): new worker"
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_makes_pictures_and_dies_is_replaced_and_at_last_the_network_too(ahead: Stage) -> None:
    for number in range(1, 4):
        places = ahead.serving._slots
        kill(places._thread, places, "_arrived")
        ahead.wait_for(lambda number=number: len(ahead.said) >= number)
        assert ahead.serving._slots is not places
        assert ahead.said[number - 1].startswith("worker thread died (the thread that makes pictures ended): ")
    ahead.wait_for(lambda: ahead.loaded)
    assert ahead.answered_by() is ahead.loaded[0]
    ahead.wait_for(lambda: not ahead.first.is_open)
    assert ahead.statistics.counts.errors == 0, "no frame was in hand"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_frames_that_die_with_the_thread_that_makes_pictures_are_counted(ahead: Stage) -> None:
    def die() -> None:
        ahead.decode = lambda: None
        raise SystemExit

    ahead.decode = die
    ahead.serving.put(Frame("front", lambda network: "stale"))
    ahead.wait_for(lambda: ahead.said)
    assert ahead.answered_by() is ahead.first
    assert ahead.statistics.counts.lost == {Fault.WORKER_DIED.value: 1} and ahead.loaded == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_network_that_cannot_be_freed_is_replaced_all_the_same(stage: Stage) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error")

    def die(network: Network) -> None:
        raise SystemExit

    stage.first.close = fail  # type: ignore[method-assign]
    for number in range(1, 4):
        stage.ask(die)
        stage.wait_for(lambda number=number: stage.statistics.counts.errors == number)
    stage.wait_for(lambda: stage.loaded)
    assert stage.answered_by() is stage.loaded[0]
    assert "the network could not be freed: RuntimeError: CUDA error" in stage.said


def test_errors_are_the_frames_fault_where_the_network_passes_its_check(stage: Stage) -> None:
    for _ in range(7):
        stage.ask(lambda network: Fault.ERROR)
    assert stage.answered_by() is stage.first and stage.loaded == []
    assert [said for said in stage.said if "the frames are at fault" in said]


def test_errors_are_the_network_s_fault_where_it_fails_its_check(stage: Stage) -> None:
    stage.first.is_well = False
    for _ in range(3):
        stage.ask(lambda network: Fault.ERROR)
    stage.wait_for(lambda: stage.loaded)
    assert stage.answered_by() is stage.loaded[0]
    assert stage.serving.values()["last recovery"].startswith(Fault.CHECK_FAILED.value)


def test_the_end_waits_for_the_frame_in_hand_and_hands_the_network_back() -> None:
    stage, done = Stage(), threading.Event()
    stage.ask(lambda network: (time.sleep(0.1), done.set()))
    assert stage.serving.end(2.0) is stage.first and done.is_set() and stage.answers == [] and stage.first.is_open


def test_an_upload_that_hangs_is_left_to_itself_with_the_thread_that_it_is_on(ahead: Stage) -> None:
    hold, places = threading.Event(), ahead.serving._slots
    ahead.upload = lambda: hold.wait(5)
    ahead.serving.put(Frame("front", lambda network: "stale"))
    ahead.wait_for(lambda: ahead.loaded)
    ahead.upload = lambda: None
    assert "an image's upload not done after" in ahead.said[0] and ahead.serving._slots is not places
    assert ahead.answered_by() is ahead.loaded[0]
    hold.set()
    ahead.wait_for(lambda: not ahead.first.is_open)
    assert ahead.statistics.counts.lost == {Fault.HANG.value: 1} and [a for _, a in ahead.answers] == ["answer"]


@pytest.mark.parametrize("uploads", [False, True])
def test_a_picture_that_takes_long_to_decode_is_no_hang_of_the_network(uploads: bool) -> None:
    stage = Stage(uploads)
    stage.decode = lambda: time.sleep(3 * TIMEOUT_S)
    for _ in range(2):
        assert stage.answered_by() is stage.first
    assert stage.said == [] and stage.statistics.counts.errors == 0 and stage.loaded == []
    assert stage.serving.end(1.0) is stage.first


@pytest.mark.parametrize(("uploads", "what"), [(False, "1 frames not done after"), (True, "a picture not done after")])
def test_a_picture_that_is_never_decoded_is_left_to_itself_with_its_thread(
    uploads: bool, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_serving, "_OUTSIDE_PATIENCE_S", 0.1)
    stage, hold = Stage(uploads), threading.Event()
    stage.decode = lambda: hold.wait(5)
    stage.serving.put(Frame("front", lambda network: "late"))
    stage.wait_for(lambda: stage.loaded)
    stage.decode = lambda: None
    assert what in stage.said[0] and stage.answered_by() is stage.loaded[0]
    hold.set()
    stage.wait_for(lambda: not stage.first.is_open)
    assert stage.statistics.counts.lost == {Fault.HANG.value: 1} and [a for _, a in stage.answers] == ["answer"]
    assert stage.serving.end(1.0) is stage.loaded[0]


def test_a_check_that_hangs_is_a_hang_of_the_network(stage: Stage) -> None:
    hold = threading.Event()
    stage.first.warm_up = lambda: hold.wait(5)  # type: ignore[method-assign, assignment, return-value]
    for _ in range(3):
        stage.ask(lambda network: Fault.ERROR)
    stage.wait_for(lambda: stage.loaded)
    hold.set()
    assert "not done after" in stage.said[0] and stage.answered_by() is stage.loaded[0]


def test_the_end_does_not_wait_for_what_is_being_loaded() -> None:
    stage, hold = Stage(), threading.Event()
    stage.before_loading = lambda: hold.wait(5)
    stage.ask(lambda network: Fault.DEVICE_LOST)
    stage.wait_for(lambda: stage.remedies)
    assert stage.serving.end(5.0) is None
    hold.set()
    end = time.monotonic() + 5
    while not (stage.loaded and not stage.loaded[0].is_open):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert stage.serving.segmenter is None


def test_a_network_still_busy_at_the_end_is_freed_when_it_is_done() -> None:
    stage, hold = Stage(), threading.Event()
    stage.ask(lambda network: hold.wait(5))
    assert stage.serving.end(0.05) is None and stage.first.is_open
    hold.set()
    end = time.monotonic() + 5
    while stage.first.is_open:
        assert time.monotonic() < end
        time.sleep(0.01)
