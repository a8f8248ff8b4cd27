# SPDX-License-Identifier: Apache-2.0
"""Messages beside the images that are not what their topic promises cost themselves, not the evaluation."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from vltseg_core.errors import InputError
from vltseg_ros import bag_companions, bag_messages, bags
from vltseg_ros.bag_messages import CAMERA_INFO_TYPE, IMAGE_TYPE, STRING_TYPE
from vltseg_ros.bag_source import BagSource
from vltseg_ros.bag_topics import TRUTH_TOPIC_ENTRY

SECOND = 1_000_000_000
LABELS = np.zeros((4, 6), np.uint8)


def image(stamp_ns):
    return bag_messages.image_message(np.zeros((4, 6, 3), np.uint8), stamp_ns, "")


def labels(stamp_ns):
    return bag_messages.image_message(LABELS, stamp_ns, "")


def write(path, messages, entries=None):
    """A bag of (topic, type, time, bytes)."""
    with bags.BagWriter(path) as writer:
        writer.describe(entries or {})
        for message in messages:
            writer.write(*message)
    return path


def images(num=3):
    return [(bags.IMAGE_TOPIC, IMAGE_TYPE, i * SECOND, image(i * SECOND)) for i in range(1, num + 1)]


def test_companions_of_another_type_are_left_alone(tmp_path):
    others = [
        ("/sequence", "std_msgs/msg/UInt32", SECOND, b"\0\1\0\0\7\0\0\0"),
        ("/condition", "std_msgs/msg/Float64", SECOND, b"\0\1\0\0" + bytes(8)),
        ("/camera/camera_info", STRING_TYPE, SECOND, bag_messages.string_message("none")),
    ]
    source = BagSource(write(tmp_path / "bag", [*others, *images()]))
    frames = list(source.frames())
    assert [(frame.sequence, frame.section, frame.companions) for frame in frames] == [("", "", ())] * 3
    assert source.losses == []


def test_messages_too_short_for_a_stamp_are_left_out_and_said(tmp_path):
    short = [(bags.IMAGE_TOPIC, IMAGE_TYPE, SECOND + 1, b"\0\1\0\0"), ("/camera/camera_info", CAMERA_INFO_TYPE, 2 * SECOND, b"")]
    source = BagSource(write(tmp_path / "bag", sorted([*images(), *short], key=lambda message: message[2])))
    assert [frame.name for frame in source.frames()] == ["000000", "000002", "000003"]
    assert source.losses == [
        "/camera/camera_info: 1 messages are too short to hold a stamp and were left out",
        "/camera/image: 1 messages are too short to hold a stamp and were left out",
    ]


def test_a_bag_without_a_readable_image_is_said_in_one_sentence(tmp_path):
    source = BagSource(write(tmp_path / "bag", [(bags.IMAGE_TOPIC, IMAGE_TYPE, SECOND, b"\0\1\0\0")]))
    with pytest.raises(InputError, match=r"no image on /camera/image .* can be read \(/camera/image: 1 messages are too short"):
        list(source.frames())


def test_a_topic_that_is_only_named_like_ground_truth_must_hold_labels(tmp_path):
    rgb = [("/gt/picture", IMAGE_TYPE, i * SECOND, image(i * SECOND)) for i in range(1, 4)]
    source = BagSource(write(tmp_path / "rgb", [*images(), *rgb]))
    assert not source.has_truth and "/gt/picture is named like ground truth, but does not hold labels" in source.losses[0]
    told = BagSource(write(tmp_path / "told", [*images(), *rgb], {TRUTH_TOPIC_ENTRY: "/gt/picture"}))
    assert told.has_truth
    mono = [("/gt/picture", IMAGE_TYPE, SECOND, b""), ("/gt/picture", IMAGE_TYPE, SECOND, labels(SECOND))]
    found = BagSource(write(tmp_path / "mono", [*mono, *images()]))
    assert found.truth_topic == "/gt/picture" and found.truth(next(found.frames())) is not None


def test_companions_of_another_clock_do_not_pile_up(tmp_path):
    truths = [(bags.GROUND_TRUTH_TOPIC, IMAGE_TYPE, i * SECOND, labels((i + 3600) * SECOND)) for i in range(1, 4)]
    source = BagSource(write(tmp_path / "bag", sorted([*truths, *images()], key=lambda message: message[2])))
    assert [frame.companions for frame in source.frames()] == [()] * 3
    assert "more than 5 s after the images beside them" in source.losses[0]


def test_a_companion_recorded_long_before_a_slow_cameras_next_image_is_kept(tmp_path):
    times_ns = (SECOND, 60 * SECOND)
    slow = [(bags.IMAGE_TOPIC, IMAGE_TYPE, time_ns, image(time_ns)) for time_ns in times_ns]
    truth = (bags.GROUND_TRUTH_TOPIC, IMAGE_TYPE, 2 * SECOND, labels(60 * SECOND))
    source = BagSource(write(tmp_path / "bag", [slow[0], truth, slow[1]]))
    first, second = source.frames()
    assert source.truth(first) is None and source.truth(second) is not None


def test_what_waits_is_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(bag_companions, "_MOST_BYTES", 250)
    truths = [(bags.GROUND_TRUTH_TOPIC, IMAGE_TYPE, i, labels(SECOND + i)) for i in range(10)]
    source = BagSource(write(tmp_path / "bag", [*truths, *images()]))
    assert sum(len(frame.companions) for frame in source.frames()) < 5
    assert "waited in vain" in source.losses[0]


def test_a_part_is_counted_from_the_first_image_on(tmp_path):
    early = ("/condition", STRING_TYPE, 0, bag_messages.string_message("fog"))
    later = [(topic, kind, time_ns + 100 * SECOND, image(time_ns + 100 * SECOND)) for topic, kind, time_ns, _ in images(5)]
    source = BagSource(write(tmp_path / "bag", [early, *later]), max_seconds=2.0)
    assert [frame.section for frame in source.frames()] == ["fog", "fog"]


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": ' * 200_000, "9" * 100_000, "[1", '{"vltseg.drawn": "true"}'])
def test_metadata_among_the_messages_that_cannot_be_read_is_done_without(tmp_path, text):
    told = (bags.METADATA_TOPIC, STRING_TYPE, 0, bag_messages.string_message(text))
    source = BagSource(write(tmp_path / "bag", [told, *images()]))
    assert source.drawn == text.startswith('{"vltseg') and len(list(source.frames())) == 3


def test_half_a_surrogate_pair_does_not_reach_what_is_written(tmp_path):
    told = (bags.METADATA_TOPIC, STRING_TYPE, 0, bag_messages.string_message('{"vltseg.credit": "\\ud800"}'))
    assert BagSource(write(tmp_path / "bag", [told, *images()])).entries == {"vltseg.credit": "?"}


def test_conditions_and_drives_have_names_that_can_be_shown(tmp_path):
    texts = ["night", "n" * 3000, "", "\x1b[31mred"]
    named = [
        (topic, STRING_TYPE, i * SECOND - 1, bag_messages.string_message(text))
        for i, text in enumerate(texts, 1)
        for topic in (bags.CONDITION_TOPIC, bags.SEQUENCE_TOPIC)
    ]
    source = BagSource(write(tmp_path / "bag", sorted([*named, *images(4)], key=lambda message: message[2])))
    frames = list(source.frames())
    night, long, same, red = [frame.section for frame in frames]
    assert [frame.sequence for frame in frames] == [night, long, same, red]
    assert night == "night" and long == same and red.startswith("?[31mred")
    assert all(len(name) < 100 and name.isprintable() for name in (long, red))
