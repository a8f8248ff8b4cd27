# SPDX-License-Identifier: Apache-2.0
"""Bags of a small CamVid, drawn scenes, pictures and a video; what is left when the making is stopped or fails."""

from __future__ import annotations

import errno
import json
import signal

import numpy as np
import pytest
from PIL import Image
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Writer

pytest.importorskip("rclpy", reason="rclpy is not installed")

from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.evaluation.video import VideoWriter
from vltseg_core.labels import CAMVID, CITYSCAPES_TO_CAMVID
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_contents import ContentSettings, open_contents
from vltseg_ros.bag_frames import COMPRESSED_IMAGE_TOPIC, START_NS
from vltseg_ros.bag_making import make_bag, storage_for
from vltseg_ros.bag_source import BagSource

SIZE = (12, 16)
NAMES = ("0016E5_00390", "0016E5_00392", "0016E5_00450", "0001TP_006690", "0001TP_006720", "0006R0_f00930")


@pytest.fixture
def camvid(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "camvid"
    for kind in ("images", "labels"):
        (root / "val" / kind).mkdir(parents=True)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)).save(root / "val" / "images" / f"{name}.jpg")
        Image.fromarray(rng.integers(0, 12, SIZE).astype(np.uint8)).save(root / "val" / "labels" / f"{name}.png")
    return root


def made(given, output, settings=None, **options):
    contents = open_contents(str(given), settings or ContentSettings())
    return make_bag(contents, output, **options), contents


@pytest.mark.parametrize(("name", "num_files"), [("a.mcap", 0), ("a.db3", 0), ("folder", 2)])
def test_frames_come_by_condition_and_sequence_at_the_times_of_their_numbers(tmp_path, camvid, name, num_files):
    outcome, _ = made(f"camvid={camvid}", tmp_path / name)
    assert (outcome.num_frames, outcome.stopped_by) == (6, 0) and outcome.num_bytes > 0
    assert outcome.duration_s == pytest.approx(4 + 2 / 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "camvid"])  # nothing else is left
    assert (len(list((tmp_path / name).iterdir())) if num_files else 0) == num_files
    source = BagSource(tmp_path / name)
    frames = list(source.frames())
    assert [(frame.section, frame.sequence) for frame in frames] == [("dusk", "0001TP")] * 2 + [("day", "0006R0")] + [
        ("day", "0016E5")
    ] * 3
    assert [(frame.stamp_ns - START_NS) / 1e9 for frame in frames] == pytest.approx([0, 1, 2, 3, 3 + 2 / 30, 4 + 2 / 30])
    assert [frame.time_ns for frame in frames] == [frame.stamp_ns for frame in frames]
    assert source.has_truth and not source.drawn and source.losses == []
    stems = ("0001TP_006690", "0001TP_006720", "0006R0_f00930", "0016E5_00390", "0016E5_00392", "0016E5_00450")
    for stem, frame in zip(stems, frames, strict=True):
        labels = np.asarray(Image.open(camvid / "val" / "labels" / f"{stem}.png"))
        np.testing.assert_array_equal(source.truth(frame), np.where(labels == 11, 255, labels))
        assert np.abs(source.picture(frame).astype(int) - _pixels(camvid, stem)).max() <= 2
        assert {message.topic for message in frame.companions} >= {bags.CAMERA_INFO_TOPIC, bags.GROUND_TRUTH_TOPIC}


def _pixels(camvid, stem):
    return np.asarray(Image.open(camvid / "val" / "images" / f"{stem}.jpg")).astype(int)


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "folder"])
def test_the_metadata_tells_the_label_space_whole_and_rosbags_reads_it_all(tmp_path, camvid, name):
    made(f"camvid={camvid}", tmp_path / name)
    source = BagSource(tmp_path / name)
    assert source.label_space.name == "camvid" and source.label_space.classes.names == CAMVID.names
    np.testing.assert_array_equal(source.label_space.from_cityscapes, CITYSCAPES_TO_CAMVID)
    with bags.BagReader(tmp_path / name) as reader:
        entries = reader.entries
        assert [topic.num_messages for topic in reader.topics] == [1, 6, 6, 2, 6, 3]
    assert json.loads(entries["vltseg.sequences"]) == ["0001TP", "0006R0", "0016E5"]
    assert json.loads(entries["vltseg.conditions"]) == ["dusk", "day"]
    assert entries["vltseg.ground_truth"] == bags.GROUND_TRUTH_TOPIC and "30 Hz" in entries["vltseg.frame_times"]
    assert entries["vltseg.camera_info"].startswith("assumed")
    with AnyReader([tmp_path / name]) as reader:
        times = [time_ns for _, time_ns, _ in reader.messages()]
    assert len(times) == 24 and times == sorted(times)


def test_a_bag_whose_end_is_lost_still_knows_its_label_space(tmp_path, camvid):
    made(f"camvid={camvid}", tmp_path / "a.mcap")
    content = (tmp_path / "a.mcap").read_bytes()
    (tmp_path / "a.mcap").write_bytes(content[: content.index(b"serialized_metadata") - 20])
    source = BagSource(tmp_path / "a.mcap")
    assert source.label_space.name == "camvid" and len(list(source.frames())) == 6
    assert any("has no index" in loss for loss in source.losses)


def test_files_of_the_encoding_asked_for_are_taken_as_they_are(tmp_path, camvid):
    made(f"camvid={camvid}", tmp_path / "jpeg.mcap", encoding="jpeg")
    made(f"camvid={camvid}", tmp_path / "png.mcap", encoding="png")
    with bags.BagReader(tmp_path / "jpeg.mcap") as reader:
        (first, *rest) = reader.messages([COMPRESSED_IMAGE_TOPIC])
    message = bag_messages.deserialise(first.cdr, first.message_type)
    assert message.format == "jpeg" and len(rest) == 5
    assert bytes(message.data) == (camvid / "val" / "images" / "0001TP_006690.jpg").read_bytes()
    with bags.BagReader(tmp_path / "png.mcap") as reader:
        message = bag_messages.deserialise(next(reader.messages([COMPRESSED_IMAGE_TOPIC])).cdr, first.message_type)
    assert message.format == "png" and bytes(message.data[1:4]) == b"PNG"


def test_unreadable_frames_are_named_and_left_out(tmp_path, camvid):
    (camvid / "val" / "images" / "0016E5_00390.jpg").write_bytes(b"no picture")
    (camvid / "val" / "labels" / "0001TP_006690.png").write_bytes(b"no labels")
    outcome, contents = made(f"camvid={camvid}", tmp_path / "a.mcap")
    assert outcome.num_frames == 4 and len(contents.skipped) == 2
    assert "0001TP_006690.png" in contents.skipped[0] and "0016E5_00390.jpg" in contents.skipped[1]
    with bags.BagReader(tmp_path / "a.mcap") as reader:
        assert reader.entries["vltseg.num_skipped"] == "2"


def test_a_rate_of_ones_own_paces_all_frames(tmp_path, camvid):
    outcome, _ = made(f"camvid={camvid}", tmp_path / "a.mcap", ContentSettings(rate_hz=20.0, max_gap_s=0.5))
    assert outcome.duration_s == pytest.approx(2 * 0.5 + 3 / 20)


def test_pictures_and_a_video_become_bags_without_ground_truth(tmp_path, camvid):
    with VideoWriter(tmp_path / "drive.mp4", 5.0) as writer:
        for grey in range(0, 250, 50):
            writer.add(np.full((32, 48, 3), grey, np.uint8))
    made(tmp_path / "drive.mp4", tmp_path / "video.mcap")
    made(camvid / "val" / "images", tmp_path / "pictures.db3", encoding="jpeg")
    video, pictures = BagSource(tmp_path / "video.mcap"), BagSource(tmp_path / "pictures.db3")
    assert (video.num_frames, pictures.num_frames) == (5, 6)
    assert video.frame_rate_hz == pytest.approx(5.0) and pictures.frame_rate_hz == pytest.approx(10.0)
    assert not video.has_truth and not pictures.has_truth and pictures.message_type == bag_messages.COMPRESSED_IMAGE_TYPE


def test_a_phone_picture_is_stored_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "a.jpg", exif=exif)
    made(tmp_path / "images", tmp_path / "a.mcap", encoding="jpeg")
    source = BagSource(tmp_path / "a.mcap")
    assert source.picture(next(source.frames())).shape == (8, 6, 3)


def test_drawn_scenes_bring_their_train_ids(tmp_path):
    contents = open_contents("demo", ContentSettings(rate_hz=0.25))  # one frame a condition
    outcome = make_bag(contents, tmp_path / "demo.mcap")
    source = BagSource(tmp_path / "demo.mcap")
    assert outcome.num_frames == 5 and source.drawn and source.label_space.name == "cityscapes_train_ids"
    assert [frame.section for frame in source.frames()] == ["clear", "night", "fog", "rain", "snow"]


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "folder"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_a_whole_bag_of_what_was_written(tmp_path, camvid, name, number):
    def stop_at_the_third():
        count.append(1)
        if len(count) == 3:
            signal.raise_signal(number)

    count = []
    outcome, _ = made(f"camvid={camvid}", tmp_path / name, on_frame=stop_at_the_third)
    assert outcome.stopped_by == number and outcome.num_frames == 3
    source = BagSource(tmp_path / name)
    assert len(list(source.frames())) == 3 and source.losses == []
    assert {path.name for path in tmp_path.iterdir()} == {name, "camvid"}


def test_a_second_signal_stops_at_once_and_leaves_nothing(tmp_path, camvid):
    def stop_twice():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        made(f"camvid={camvid}", tmp_path / "a.mcap", on_frame=stop_twice)
    assert ended.value.code == 143
    assert {path.name for path in tmp_path.iterdir()} == {"camvid"}


def test_a_failure_is_told_though_a_signal_came_as_well(tmp_path, camvid):
    def stop_and_fail():
        signal.raise_signal(signal.SIGTERM)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        made(f"camvid={camvid}", tmp_path / "a.mcap", on_frame=stop_and_fail)
    assert {path.name for path in tmp_path.iterdir()} == {"camvid"}


def test_ctrl_c_when_the_last_frame_is_written_costs_nothing(tmp_path, camvid, monkeypatch):
    def close_and_stop(self):
        signal.raise_signal(signal.SIGINT)
        close(self)

    close = Writer.close
    monkeypatch.setattr(Writer, "close", close_and_stop)
    outcome, _ = made(f"camvid={camvid}", tmp_path / "a.mcap")
    assert (outcome.num_frames, outcome.stopped_by) == (6, 0)
    assert len(list(BagSource(tmp_path / "a.mcap").frames())) == 6


def test_a_failure_leaves_nothing(tmp_path, camvid, monkeypatch):
    def disk_full(self, topic, message_type, time_ns, cdr):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bags.BagWriter, "write", disk_full)
    with pytest.raises(OSError, match="No space left"):
        made(f"camvid={camvid}", tmp_path / "a.mcap")
    assert {path.name for path in tmp_path.iterdir()} == {"camvid"}


def test_what_cannot_become_a_bag_is_said_in_one_sentence(tmp_path, camvid):
    made(f"camvid={camvid}", tmp_path / "a.mcap")
    with pytest.raises(InputError, match="exists already"):
        storage_for(tmp_path / "a.mcap", None)
    with pytest.raises(InputError, match=r"is the name of sqlite3, and --storage says mcap"):
        storage_for(tmp_path / "b.db3", "mcap")
    with pytest.raises(InputError, match="is a bag already"):
        open_contents(str(tmp_path / "a.mcap"), ContentSettings())
    with pytest.raises(ConfigurationError, match="did you mean 'camvid'"):
        open_contents(f"camvit={camvid}", ContentSettings())
    with pytest.raises(InputError, match="does not exist"):
        open_contents("nowhere", ContentSettings())
    for image in (camvid / "val" / "images").iterdir():
        image.write_bytes(b"no picture")
    with pytest.raises(InputError, match="no frame can be read: image"):
        made(f"camvid={camvid}", tmp_path / "b.mcap")
    assert not (tmp_path / "b.mcap").exists()


def test_a_label_space_without_a_name_here_is_read_from_the_metadata():
    from vltseg_core.labels import CITYSCAPES
    from vltseg_ros.ground_truth import space_entries, space_of_entries

    lookup = np.full(256, 255, np.uint8)
    lookup[[0, 1, 13, 14]] = (1, 1, 0, 0)
    space = space_of_entries(space_entries("ours", ("vehicle", "ground", "sky dome"), lookup))
    assert space.name == "ours" and space.classes.names == ("vehicle", "ground", "sky dome")
    np.testing.assert_array_equal(space.from_cityscapes, lookup)
    assert space.classes.classes[0].colour == CITYSCAPES.classes[13].colour
    with pytest.raises(InputError, match="label space 'ours', expected one of cityscapes_train_ids"):
        space_of_entries({"vltseg.label_space": "ours"})
    assert space_of_entries({}).name == "cityscapes_train_ids"
