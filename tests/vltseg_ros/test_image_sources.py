# SPDX-License-Identifier: Apache-2.0
"""A user's own input: which frames come out, when they play, and what is said of input that cannot be played."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rclpy", reason="rclpy is not installed")

from vltseg_core.errors import InputError
from vltseg_core.evaluation.video import VideoWriter
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_frames import START_NS
from vltseg_ros.bag_source import BagSource
from vltseg_ros.image_sources import ImageFilesSource, VideoSource, open_source

SECOND = 1_000_000_000


def save(path, value=0, size=(8, 6), mode="RGB", **options):
    Image.new(mode, size, value).save(path, **options)


@pytest.fixture
def image_folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, red in (("frame10.png", 100), ("frame2.png", 20), ("frame1.JPG", 10)):
        save(folder / name, (red, 0, 0), format="PNG")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_images_play_in_the_order_that_a_person_would_give_them(image_folder):
    source = open_source(str(image_folder), rate_hz=4.0)
    frames = list(source.frames())
    assert [frame.name for frame in frames] == ["frame1", "frame2", "frame10"]
    assert [source.picture(frame)[0, 0, 0] for frame in frames] == [10, 20, 100]
    assert [frame.stamp_ns - START_NS for frame in frames] == [0, SECOND // 4, SECOND // 2]
    assert [bag_messages.stamp_of(frame.message) for frame in frames] == [frame.stamp_ns for frame in frames]
    assert source.num_frames == 3 and not source.drawn and source.truth(frames[0]) is None
    assert list(source.frames()) == frames  # a second time the same


def test_a_pattern_a_single_image_and_a_part_can_be_given(image_folder):
    assert [f.name for f in open_source(str(image_folder / "frame1*")).frames()] == ["frame1", "frame10"]
    assert [f.name for f in open_source(str(image_folder / "frame2.png")).frames()] == ["frame2"]
    part = open_source(str(image_folder), rate_hz=2.0, max_seconds=1.0)
    assert [f.name for f in part.frames()] == ["frame1", "frame2"] and part.num_frames == 2


@pytest.mark.parametrize(("mode", "value"), [("L", 90), ("RGBA", (90, 90, 90, 3)), ("P", 0), ("1", 1), ("LA", (90, 8))])
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode, value):
    save(tmp_path / "a.png", value, mode=mode)
    source = open_source(str(tmp_path))
    (frame,) = source.frames()
    assert source.picture(frame).shape == (6, 8, 3)


def test_a_phone_picture_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    save(tmp_path / "a.jpg", (9, 9, 9), exif=exif)
    source = open_source(str(tmp_path))
    (frame,) = source.frames()
    assert source.picture(frame).shape == (8, 6, 3)


def test_the_archive_is_a_jpeg_with_the_frames_stamp(image_folder):
    source = open_source(str(image_folder))
    frame = next(source.frames())
    (message,) = source.archive(frame)
    assert message.topic == "/camera/image/compressed"
    decoded = bag_messages.deserialise(message.cdr, bag_messages.COMPRESSED_IMAGE_TYPE)
    assert decoded.format == "jpeg" and bytes(decoded.data[:2]) == b"\xff\xd8"
    assert bag_messages.stamp_of(message.cdr) == frame.stamp_ns


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "drive.mp4"
    with VideoWriter(path, 5.0) as writer:
        for grey in range(0, 250, 25):
            writer.add(np.full((32, 48, 3), grey, np.uint8))
    return path


def test_a_video_plays_at_its_own_times(video):
    source = open_source(str(video))
    frames = list(source.frames())
    assert isinstance(source, VideoSource) and source.num_frames == len(frames) == 10
    assert source.frame_rate_hz == pytest.approx(5.0)
    np.testing.assert_allclose([f.stamp_ns - START_NS for f in frames], np.arange(10) * SECOND / 5, atol=1e5)
    np.testing.assert_allclose([source.picture(f).mean() for f in frames], np.arange(0, 250, 25), atol=5)


def test_a_videos_rate_and_length_can_be_set(video):
    source = open_source(str(video), rate_hz=10.0, max_seconds=0.45)
    assert [round((f.stamp_ns - START_NS) / SECOND, 3) for f in source.frames()] == [0.0, 0.1, 0.2, 0.3, 0.4]


def write_bag(path, topics, compressed=False, num_frames=4):
    with bags.BagWriter(path) as writer:
        for index in range(num_frames):
            for topic in topics:
                stamp_ns = (index + 1) * SECOND
                image = bag_messages.image_message(np.full((4, 6, 3), index, np.uint8), stamp_ns, "front")
                writer.write(topic, bag_messages.IMAGE_TYPE, stamp_ns + 7, image)
    return path


def test_the_only_image_topic_of_a_bag_is_taken_and_its_messages_are_untouched(tmp_path):
    path = write_bag(tmp_path / "bag", ["/front/image_raw"])
    source = open_source(str(path))
    assert isinstance(source, BagSource) and source.topic == "/front/image_raw" and source.num_frames == 4
    frames = list(source.frames())
    assert [frame.stamp_ns for frame in frames] == [SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND]
    assert [frame.time_ns for frame in frames] == [frame.stamp_ns + 7 for frame in frames]
    with bags.BagReader(path) as reader:
        assert [m.cdr for m in reader.messages([source.topic])] == [frame.message for frame in frames]
    assert list(source.archive(frames[2])) == [
        bags.BagMessage(source.topic, bag_messages.IMAGE_TYPE, frames[2].time_ns, frames[2].message)
    ]
    assert (source.picture(frames[2]) == 2).all()
    assert open_source(str(path / "bag.mcap")).num_frames == 4


def test_compressed_images_of_a_bag_are_decoded_by_the_nodes_own_conversion(tmp_path):
    encoded = io.BytesIO()
    Image.new("RGB", (6, 4), (200, 10, 30)).save(encoded, "PNG")
    with bags.BagWriter(tmp_path / "bag") as writer:
        for payload in (encoded.getvalue(), b"neither JPEG nor PNG"):
            cdr = bag_messages.compressed_image_message(payload, "png", SECOND, "front")
            writer.write("/front/image/compressed", bag_messages.COMPRESSED_IMAGE_TYPE, SECOND, cdr)
    source = open_source(str(tmp_path / "bag"))
    assert source.message_type == "sensor_msgs/msg/CompressedImage"
    good, bad = source.frames()
    np.testing.assert_array_equal(source.picture(good), np.full((4, 6, 3), (200, 10, 30)))
    with pytest.raises(InputError, match="neither JPEG nor PNG"):
        source.picture(bad)
    with pytest.raises(InputError, match="9 bytes are no message"):
        source.picture(good._replace(message=good.message[:9]))
    with pytest.raises(InputError, match=r"record the bag anew"):
        source.picture(good._replace(message=good.message[:30]))


def test_a_bag_can_be_played_in_part(tmp_path):
    source = open_source(str(write_bag(tmp_path / "bag", ["/a"])), max_seconds=2.0)
    assert len(list(source.frames())) == 2


def test_of_several_image_topics_one_must_be_chosen(tmp_path):
    path = str(write_bag(tmp_path / "bag", ["/left", "/right"]))
    with pytest.raises(InputError, match="2 topics: choose one with --topic from /left, /right"):
        open_source(path)
    with pytest.raises(InputError, match="no images on topic '/middle': choose --topic from /left, /right"):
        open_source(path, topic="/middle")
    assert open_source(path, topic="/right").topic == "/right"


def test_masks_and_truth_beside_the_camera_are_no_choice(tmp_path):
    path = write_bag(tmp_path / "bag", [bags.IMAGE_TOPIC, bags.GROUND_TRUTH_TOPIC, bags.LABELS_TOPIC])
    assert open_source(str(path)).topic == bags.IMAGE_TOPIC


def test_companions_find_their_frame_on_either_side_of_it(tmp_path):
    truths = [np.full((4, 6), label, np.uint8) for label in (3, 4, 5)]
    with bags.BagWriter(tmp_path / "bag") as writer:
        for index, truth in enumerate(truths):
            stamp_ns = index * SECOND
            parts = [
                (bags.IMAGE_TOPIC, bag_messages.image_message(np.zeros((4, 6, 3), np.uint8), stamp_ns, "")),
                (bags.GROUND_TRUTH_TOPIC, bag_messages.image_message(truth, stamp_ns, "")),
            ]
            for place, (topic, cdr) in enumerate(parts[:: -1 if index % 2 else 1]):
                writer.write(topic, bag_messages.IMAGE_TYPE, stamp_ns + place, cdr)
    source = BagSource(tmp_path / "bag")
    frames = list(source.frames())
    assert [len(frame.companions) for frame in frames] == [1, 1, 1]
    for truth, frame in zip(truths, frames, strict=True):
        np.testing.assert_array_equal(source.truth(frame), truth)


def test_a_truth_of_another_stamp_is_not_the_frames_truth(tmp_path):
    with bags.BagWriter(tmp_path / "bag") as writer:
        truth = bag_messages.image_message(np.zeros((4, 6), np.uint8), SECOND - 1, "")
        writer.write(bags.GROUND_TRUTH_TOPIC, bag_messages.IMAGE_TYPE, SECOND - 1, truth)
        image = bag_messages.image_message(np.zeros((4, 6, 3), np.uint8), SECOND, "")
        writer.write(bags.IMAGE_TOPIC, bag_messages.IMAGE_TYPE, SECOND, image)
    source = BagSource(tmp_path / "bag")
    (frame,) = source.frames()
    assert source.truth(frame) is None


def test_what_cannot_be_played_is_said_in_one_sentence(tmp_path, image_folder, video):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with bags.BagWriter(tmp_path / "no_images") as writer:
        writer.write("/note", bag_messages.STRING_TYPE, 1, bag_messages.string_message("hello"))
    cases = [
        ({"given": "nowhere.mp4"}, "'nowhere.mp4' does not exist"),
        ({"given": str(tmp_path / "empty")}, "there is no image file"),
        ({"given": str(tmp_path / "*.tiff")}, "there is no image file"),
        ({"given": str(tmp_path / "text.mp4")}, "cannot be read as a video"),
        ({"given": str(tmp_path / "no_images")}, r"holds no images \(it holds /note \(std_msgs/msg/String\)\)"),
        ({"given": str(video), "topic": "/a"}, "no bag, so it has no topic '/a'"),
        ({"given": str(tmp_path / "no_images"), "rate_hz": 5.0}, "has its own times"),
    ]
    for arguments, sentence in cases:
        with pytest.raises(InputError, match=sentence) as caught:
            open_source(**arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"bad\.png' cannot be read as an image"):
        list(open_source(str(tmp_path / "bad.png")).frames())


def test_a_video_cut_short_plays_what_is_there(tmp_path, caplog):
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.mp4"
    with VideoWriter(path, 5.0) as writer:
        for _ in range(10):
            writer.add(rng.integers(0, 256, (64, 96, 3)).astype(np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    assert 4 <= len(list(VideoSource(path).frames())) < 10
    assert "is damaged" in caplog.text


def test_a_part_is_never_empty(image_folder):
    source = ImageFilesSource([image_folder / "frame2.png"], "one", 1.0, max_seconds=0.1)
    assert len(list(source.frames())) == 1
