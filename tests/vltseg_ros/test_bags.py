# SPDX-License-Identifier: Apache-2.0
"""Bags come back as they were written, in both storages, and others can read them."""

from __future__ import annotations

import errno
import signal
import sqlite3

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags

STAMP_NS = 1_735_689_600_123_456_789


def written(path, storage="mcap", compressed=False, num_frames=3):
    """A bag of images, labels and camera info; gives the pixels."""
    rng = np.random.default_rng(0)
    frames = []
    with bags.BagWriter(path, storage=storage, compressed=compressed) as writer:
        writer.describe({"vltseg.seed": "7", "note": "ünïcode: [1, 2]"})
        for index in range(num_frames):
            stamp_ns = STAMP_NS + index * 100_000_000
            image = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
            labels = rng.integers(0, 19, (6, 8)).astype(np.uint8)
            frames.append((stamp_ns, image, labels))
            # the time of receipt is later than the stamp, as on a vehicle
            writer.write(
                bags.GROUND_TRUTH_TOPIC,
                bag_messages.IMAGE_TYPE,
                stamp_ns + 5,
                bag_messages.image_message(labels, stamp_ns, "front"),
            )
            writer.write(
                bags.IMAGE_TOPIC,
                bag_messages.IMAGE_TYPE,
                stamp_ns + 5,
                bag_messages.image_message(image, stamp_ns, "front"),
            )
        info = bag_messages.camera_info_message(np.diag([400.0, 401.0, 1.0]), (6, 8), STAMP_NS, "front")
        writer.write(bags.CAMERA_INFO_TOPIC, bag_messages.CAMERA_INFO_TYPE, STAMP_NS + 6, info)
    return frames


STORAGES = [("mcap", False), ("mcap", True), ("sqlite3", False)]


@pytest.mark.parametrize(("storage", "compressed"), STORAGES)
def test_messages_times_stamps_and_entries_come_back(tmp_path, storage, compressed):
    frames = written(tmp_path / "bag", storage, compressed)
    with bags.BagReader(tmp_path / "bag") as reader:
        assert reader.entries == {"vltseg.seed": "7", "note": "ünïcode: [1, 2]"}
        assert [(t.name, t.message_type, t.num_messages) for t in reader.topics] == [
            (bags.CAMERA_INFO_TOPIC, "sensor_msgs/msg/CameraInfo", 1),
            (bags.IMAGE_TOPIC, "sensor_msgs/msg/Image", 3),
            (bags.GROUND_TRUTH_TOPIC, "sensor_msgs/msg/Image", 3),
        ]
        assert (reader.start_ns, reader.end_ns) == (frames[0][0] + 5, frames[-1][0] + 5)
        images = list(reader.messages([bags.IMAGE_TOPIC]))
        truths = list(reader.messages([bags.GROUND_TRUTH_TOPIC]))
        assert len(list(reader.messages([bags.IMAGE_TOPIC], stop_ns=frames[1][0] + 5))) == 1
    for (stamp_ns, pixels, labels), image, truth in zip(frames, images, truths, strict=True):
        assert image.time_ns == truth.time_ns == stamp_ns + 5
        assert bag_messages.stamp_of(image.cdr) == stamp_ns
        message = bag_messages.deserialise(image.cdr, image.message_type)
        assert (message.header.frame_id, message.encoding, message.step) == ("front", "rgb8", 24)
        np.testing.assert_array_equal(message.data.reshape(6, 8, 3), pixels)
        np.testing.assert_array_equal(bag_messages.labels_of(truth.cdr), labels)


@pytest.mark.parametrize(("storage", "compressed"), STORAGES)
def test_rosbags_reads_the_bag_by_its_own_definitions(tmp_path, storage, compressed):
    written(tmp_path / "bag", storage, compressed)
    with AnyReader([tmp_path / "bag"]) as reader:
        connections = [c for c in reader.connections if c.topic == bags.CAMERA_INFO_TOPIC]
        (connection, _, raw), *rest = reader.messages(connections)
        info = reader.deserialize(raw, connection.msgtype)
    assert not rest
    assert (info.height, info.width, info.k[0], info.k[4], info.p[5]) == (6, 8, 400.0, 401.0, 401.0)


def test_messages_are_what_rclpy_reads_and_writes():
    serialization = pytest.importorskip("rclpy.serialization", reason="rclpy is not installed")
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="sensor_msgs is not installed")
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cdr = bag_messages.image_message(labels, STAMP_NS, "front")
    image = serialization.deserialize_message(cdr, sensor_msgs.Image)
    assert (image.header.stamp.sec, image.header.stamp.nanosec) == divmod(STAMP_NS, 10**9)
    assert (image.encoding, image.height, image.width, bytes(image.data)) == ("mono8", 3, 4, labels.tobytes())
    back = serialization.serialize_message(image)
    assert bag_messages.stamp_of(back) == STAMP_NS
    np.testing.assert_array_equal(bag_messages.labels_of(back), labels)


def test_metadata_is_the_version_that_every_supported_ros_reads(tmp_path):
    written(tmp_path / "bag")
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    assert "version: 8" in text and "storage_identifier: mcap" in text
    assert (tmp_path / "bag" / "bag.mcap").read_bytes().startswith(b"\x89MCAP0\r\n")


def test_an_exception_leaves_a_readable_bag_of_what_was_written(tmp_path):
    with pytest.raises(KeyboardInterrupt), bags.BagWriter(tmp_path / "bag") as writer:
        writer.write(bags.CONDITION_TOPIC, bag_messages.STRING_TYPE, 1, bag_messages.string_message("fog"))
        raise KeyboardInterrupt
    with Reader(tmp_path / "bag") as reader:
        assert reader.message_count == 1


def test_ctrl_c_amid_a_message_waits_for_its_end(tmp_path, monkeypatch):
    def append_and_stop(self, *arguments):
        signal.raise_signal(signal.SIGINT)
        append(self, *arguments)

    append = Writer.write
    monkeypatch.setattr(Writer, "write", append_and_stop)
    with pytest.raises(KeyboardInterrupt), bags.BagWriter(tmp_path / "bag") as writer:
        writer.write(bags.CONDITION_TOPIC, bag_messages.STRING_TYPE, 1, bag_messages.string_message("fog"))
    assert writer.num_messages == 1
    with Reader(tmp_path / "bag") as reader:
        assert reader.message_count == 1


def test_padded_labels_are_cut_to_their_width():
    message_type = bag_messages.message_types().types[bag_messages.IMAGE_TYPE]
    plain = bag_messages.deserialise(bag_messages.image_message(np.zeros((2, 3), np.uint8), 0, ""), bag_messages.IMAGE_TYPE)
    padded = np.array([[1, 2, 3, 99], [4, 5, 6, 99]], np.uint8)
    message = message_type(plain.header, 2, 3, "mono8", 0, 4, padded.reshape(-1))
    cdr = bytes(bag_messages.message_types().serialize_cdr(message, bag_messages.IMAGE_TYPE))
    np.testing.assert_array_equal(bag_messages.labels_of(cdr), [[1, 2, 3], [4, 5, 6]])
    short = message_type(plain.header, 2, 3, "mono8", 0, 4, padded.reshape(-1)[:7])
    cdr = bytes(bag_messages.message_types().serialize_cdr(short, bag_messages.IMAGE_TYPE))
    with pytest.raises(InputError, match="3x2 pixels with step 4 has 7 bytes, expected 8"):
        bag_messages.labels_of(cdr)


def test_a_colour_image_is_no_label_image():
    cdr = bag_messages.image_message(np.zeros((2, 2, 3), np.uint8), 0, "")
    with pytest.raises(InputError, match="encoding 'rgb8', expected mono8"):
        bag_messages.labels_of(cdr)
    with pytest.raises(InputError, match=r"encoding '\?c\?8', expected mono8"):
        bag_messages.labels_of(cdr.replace(b"rgb8", b"\x1bc\x078"))


def test_a_bag_does_not_overwrite_anything(tmp_path):
    with pytest.raises(InputError, match="exists already"):
        bags.BagWriter(tmp_path)


def test_what_is_no_bag_is_said_in_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise.mcap").write_bytes(np.random.default_rng(0).bytes(2000))
    (tmp_path / "noise.db3").write_bytes(b"SQLite nonsense" * 100)
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: [}")
    for name in ("empty", "missing", "noise.mcap", "noise.db3", "old.bag", "broken"):
        with pytest.raises(InputError, match=name.replace(".", r"\.")) as caught:
            bags.BagReader(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("storage", "compressed"), STORAGES)
def test_damage_anywhere_gives_a_sentence_or_readable_messages(tmp_path, storage, compressed):
    written(tmp_path / "bag", storage, compressed)
    file = storage_file(tmp_path / "bag")
    sound = file.read_bytes()
    rng = np.random.default_rng(1)
    num_heard = 0
    for _ in range(60):
        damaged = bytearray(sound)
        start = int(rng.integers(0, len(sound)))
        damaged[start : start + 40] = rng.bytes(len(damaged[start : start + 40]))
        if rng.random() < 0.3:
            del damaged[start:]
        file.write_bytes(damaged)
        try:
            with bags.BagReader(tmp_path / "bag") as reader:
                list(reader.messages([bags.IMAGE_TOPIC]))
                sentences = reader.losses
        except InputError as error:
            sentences = [str(error)]
        assert all(sentence.isprintable() for sentence in sentences)
        num_heard += bool(sentences)
    assert num_heard > 15


def storage_file(folder):
    return next(path for path in folder.iterdir() if path.suffix in (".mcap", ".db3"))


def contents(path):
    with bags.BagReader(path) as reader:
        messages = list(reader.messages([topic.name for topic in reader.topics]))
        return messages, reader.losses


def test_a_sound_bag_loses_nothing(tmp_path):
    written(tmp_path / "bag")
    messages, losses = contents(tmp_path / "bag")
    assert len(messages) == 7 and losses == []


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_without_its_metadata_file_is_read_whole(tmp_path, storage):
    written(tmp_path / "bag", storage)
    whole = contents(tmp_path / "bag")[0]
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert bags.is_bag(tmp_path / "bag")
    messages, losses = contents(tmp_path / "bag")
    assert messages == whole
    assert losses == ["metadata.yaml is missing: topics and times were taken from the files themselves"]
    with bags.BagReader(tmp_path / "bag") as reader:
        assert reader.entries == {"vltseg.seed": "7", "note": "ünïcode: [1, 2]"}  # the file tells them too


def rewritten_metadata(folder, change):
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    change(metadata["rosbag2_bagfile_information"])
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))


def test_a_split_file_that_is_missing_is_named_and_the_others_are_read(tmp_path):
    written(tmp_path / "bag")
    whole = contents(tmp_path / "bag")[0]
    rewritten_metadata(tmp_path / "bag", lambda metadata: metadata["relative_file_paths"].append("bag_1.mcap"))
    messages, losses = contents(tmp_path / "bag")
    assert messages == whole and losses == ["files that metadata.yaml names are missing with all their messages: bag_1.mcap"]


def test_files_under_other_names_than_the_metadata_says_are_found(tmp_path):
    written(tmp_path / "bag")
    whole = contents(tmp_path / "bag")[0]
    (tmp_path / "bag" / "bag.mcap").rename(tmp_path / "bag" / "renamed.mcap")
    messages, losses = contents(tmp_path / "bag")
    assert messages == whole and losses == ["metadata.yaml names bag.mcap, which are not there: renamed.mcap was read instead"]


def test_split_files_play_in_the_order_of_their_numbers(tmp_path):
    (tmp_path / "bag").mkdir()
    for number in (2, 10, 1):
        with bags.BagWriter(tmp_path / str(number)) as writer:
            writer.write(bags.CONDITION_TOPIC, bag_messages.STRING_TYPE, number, bag_messages.string_message("fog"))
        (tmp_path / str(number) / f"{number}.mcap").rename(tmp_path / "bag" / f"bag_{number}.mcap")
    assert [message.time_ns for message in contents(tmp_path / "bag")[0]] == [1, 2, 10]


def test_a_wrong_count_in_the_metadata_is_said(tmp_path):
    written(tmp_path / "bag")

    def count_five(metadata):
        metadata["topics_with_message_count"][0]["message_count"] = 5

    rewritten_metadata(tmp_path / "bag", count_five)
    messages, losses = contents(tmp_path / "bag")
    assert len(messages) == 7 and losses == ["/ground_truth/labels: metadata.yaml counts 5 messages, the files hold 3"]


@pytest.mark.parametrize("text", ["[", "7", "rosbag2_bagfile_information: {version: 8}", "\x00\xff", ""])
def test_a_metadata_file_that_is_none_is_done_without(tmp_path, text):
    written(tmp_path / "bag")
    (tmp_path / "bag" / "metadata.yaml").write_bytes(text.encode("latin-1"))
    messages, losses = contents(tmp_path / "bag")
    assert len(messages) == 7 and losses == [
        "metadata.yaml cannot be read: topics and times were taken from the files themselves"
    ]


def test_one_of_several_files_that_is_no_bag_does_not_hinder_the_others(tmp_path):
    written(tmp_path / "bag")
    (tmp_path / "bag" / "bag_1.mcap").write_bytes(b"noise")
    (tmp_path / "bag" / "metadata.yaml").unlink()
    messages, losses = contents(tmp_path / "bag")
    assert len(messages) == 7 and any("bag_1.mcap' is no mcap file" in loss for loss in losses)


@pytest.mark.parametrize(
    ("mode", "storage"), [(CompressionMode.MESSAGE, "mcap"), (CompressionMode.FILE, "mcap"), (CompressionMode.FILE, "sqlite3")]
)
def test_bags_compressed_by_message_or_by_file_are_read(tmp_path, mode, storage):
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/note", bag_messages.STRING_TYPE, typestore=bag_messages.message_types())
        for index in range(3):
            writer.write(connection, index, bag_messages.string_message("fog" * 100))
    messages, losses = contents(tmp_path / "bag")
    assert [message.cdr for message in messages] == [bag_messages.string_message("fog" * 100)] * 3 and losses == []


def test_a_file_that_the_metadata_names_often_is_read_once(tmp_path):
    written(tmp_path / "bag")
    path = tmp_path / "bag" / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    names = ["bag.mcap", "x/bag.mcap"] * 50 + ["n" * 5000 + ".mcap", "a\0b.mcap"]
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = names
    path.write_text(yaml.safe_dump(metadata))
    with bags.BagReader(tmp_path / "bag") as reader:
        assert len(list(reader.messages([bags.IMAGE_TOPIC]))) == 3
        (loss,) = reader.losses
    assert loss.startswith("files that metadata.yaml names are missing")


def test_a_full_disk_is_an_os_error_in_both_storages(tmp_path):
    failure = bags._as_os_error(sqlite3.OperationalError("database or disk is full"), tmp_path)
    assert failure.errno == errno.ENOSPC and failure.filename == str(tmp_path)
