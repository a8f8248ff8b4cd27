# SPDX-License-Identifier: Apache-2.0
"""What went before an error is on the disk afterwards, and neither the disk nor a message can stop the vehicle."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import CompressedImage, Image

from vltseg_core.errors import ConfigurationError
from vltseg_ros import bag_messages, black_box
from vltseg_ros.bags import BagReader, BagWriter
from vltseg_ros.black_box import BlackBox, BlackBoxSettings, start_black_box
from vltseg_ros.parameters import NodeParameters

DIAGNOSTICS_TYPE = "diagnostic_msgs/msg/DiagnosticArray"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, said: list[str], clock: Clock) -> Iterator[Callable[..., BlackBox]]:
    boxes: list[BlackBox] = []

    def make(**settings: int) -> BlackBox:
        boxes.append(BlackBox(BlackBoxSettings(tmp_path / "box", **settings), said.append, steady_s=clock))
        return boxes[-1]

    yield make
    for box in boxes:
        assert box.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "vltseg-black-box"]


def image(number: int, num_bytes: int = 12) -> Image:
    message = Image(encoding="rgb8", height=1, width=num_bytes // 3, step=num_bytes, data=bytes(num_bytes))
    message.header.stamp.sec = number
    message.header.frame_id = "front"
    return message


def recordings(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "box").glob("*"))


def written(box: BlackBox, said: list[str], reason: str = "the network failed") -> None:
    """Write and wait until it is said."""
    already = len(said)
    assert box.write(reason)
    end = time.monotonic() + 10
    while len(said) == already and time.monotonic() < end:
        time.sleep(0.005)
    assert len(said) == already + 1
    while box._wanted is not None:
        time.sleep(0.001)


def test_the_last_frames_and_states_are_in_a_bag_that_can_be_read(
    make: Callable[..., BlackBox], tmp_path: Path, said: list[str]
) -> None:
    box = make(num_frames=3)
    for number in range(10):
        box.remember_frame("/image", image(number))
    state = DiagnosticArray(status=[DiagnosticStatus(name="/vltseg", values=[KeyValue(key="state", value="active")])])
    box.remember_state("/diagnostics", state)
    written(box, said, "RuntimeError: Injected, at frame 9")
    (recording,) = recordings(tmp_path)
    assert recording.name.endswith("_runtimeerror_injected_at_frame_9") and str(recording) in said[0]
    with BagReader(recording) as bag:
        frames = list(bag.messages(["/image"]))
        assert [bag_messages.stamp_of(frame.cdr) // 10**9 for frame in frames] == [7, 8, 9]
        assert bag_messages.deserialise(frames[0].cdr, bag_messages.IMAGE_TYPE).header.frame_id == "front"
        (kept,) = bag.messages(["/diagnostics"])
        assert bag_messages.deserialise(kept.cdr, DIAGNOSTICS_TYPE).status[0].values[0].value == "active"
        assert bag.entries["reason"] == "RuntimeError: Injected, at frame 9" and not bag.losses


def test_bytes_are_bounded_whatever_the_frames_size(make: Callable[..., BlackBox], said: list[str], tmp_path: Path) -> None:
    box = make(num_frames=100, max_bytes=100_000)
    for number in range(50):
        box.remember_frame("/image", image(number, 30_000))
    assert len(box._frames) == 3 and box._frame_bytes <= 100_000
    box.remember_frame("/image", image(50, 300_000))
    assert len(box._frames) == 0 and box._frame_bytes == 0
    compressed = CompressedImage(format="jpeg", data=bytes(100))
    box.remember_frame("/image/compressed", compressed)
    written(box, said)
    assert sum(path.stat().st_size for path in recordings(tmp_path)[0].iterdir()) < 100_000


def test_texts_count_as_much_as_pixels(make: Callable[..., BlackBox]) -> None:
    box = make(num_frames=100, max_bytes=1_000_000)
    message = image(0, 3)
    message.header.frame_id = "f" * 300_000
    box.remember_frame("/image", message)
    assert len(box._frames) == 0
    box.remember_frame("/image/compressed", CompressedImage(format="j" * 300_000, data=b"x"))
    assert len(box._frames) == 0


def test_recordings_are_bounded_and_the_oldest_go(
    make: Callable[..., BlackBox], tmp_path: Path, said: list[str], clock: Clock
) -> None:
    box = make(max_recordings=2)
    other = tmp_path / "box" / "holiday_pictures"
    other.mkdir(parents=True)
    for reason in ("first", "second", "third"):
        clock.now_s += 10_000
        written(box, said, reason)
    assert [path.name.rpartition("_")[2] for path in recordings(tmp_path)] == ["pictures", "second", "third"]


def test_errors_that_go_on_are_written_ever_less_often(make: Callable[..., BlackBox], said: list[str], clock: Clock) -> None:
    box = make()
    written(box, said)
    for pause_s in (10, 20, 40):
        clock.now_s += pause_s - 1
        assert not box.write("again")
        clock.now_s += 1
        written(box, said, "again")
    clock.now_s += 3 * 3600
    written(box, said, "the next day")
    clock.now_s += 10
    written(box, said, "again")


def test_serving_does_not_wait_for_the_disk(
    make: Callable[..., BlackBox], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    original = BagWriter.write

    def slow(bag: BagWriter, *arguments: object) -> None:
        assert released.wait(10)
        original(bag, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(BagWriter, "write", slow)
    box = make()
    box.remember_frame("/image", image(0))
    start = time.perf_counter()
    assert box.write("slow disk")
    for number in range(1000):
        box.remember_frame("/image", image(number))
        assert not box.write("meanwhile")
    assert time.perf_counter() - start < 2 and said == []
    released.set()


@pytest.mark.parametrize("failure", ["disk usage", "write", "close", "folder"])
def test_a_full_disk_is_said_once_and_leaves_nothing_behind(
    make: Callable[..., BlackBox],
    tmp_path: Path,
    said: list[str],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    failure: str,
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    box = make()
    box.remember_frame("/image", image(0))
    with monkeypatch.context() as patch:
        if failure == "disk usage":
            patch.setattr(black_box.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 99, 1))
        elif failure == "folder":
            patch.setattr(Path, "mkdir", full)
        else:
            patch.setattr(BagWriter, "write" if failure == "write" else "__exit__", full)
        assert box.write("first")
        for _ in range(3):
            end = time.monotonic() + 10
            while box._wanted is not None and time.monotonic() < end:
                time.sleep(0.001)
            clock.now_s += 10_000
            assert box.write("again")
        while box._wanted is not None:
            time.sleep(0.001)
    assert len(said) == 1 and "cannot be written" in said[0] and "serving goes on" in said[0]
    assert recordings(tmp_path) == []
    clock.now_s += 10_000
    written(box, said)
    assert "black box written" in said[1] and len(recordings(tmp_path)) == 1


def test_what_was_asked_for_is_written_before_the_end(make: Callable[..., BlackBox], tmp_path: Path) -> None:
    box = make()
    box.remember_frame("/image", image(0))
    assert box.write("shutdown") and box.close()
    assert len(recordings(tmp_path)) == 1 and not box.write("afterwards")


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written .*: name another folder"):
        start_black_box(NodeParameters(black_box_path=str(tmp_path / "file" / "box")), print)
    box = start_black_box(NodeParameters(black_box_path=str(tmp_path / "deep" / "box")), print)
    assert box and box.close() and list((tmp_path / "deep" / "box").iterdir()) == []
    assert start_black_box(NodeParameters(), print) is None
