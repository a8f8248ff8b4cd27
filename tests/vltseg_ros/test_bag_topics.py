# SPDX-License-Identifier: Apache-2.0
"""The camera of a bag is found by types and names; where there are several, they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from vltseg_core.errors import InputError
from vltseg_ros.bag_messages import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, STRING_TYPE
from vltseg_ros.bag_topics import camera_info_of, choose_camera, find_truth
from vltseg_ros.bags import BagTopic


def topics(*names):
    return [BagTopic(name, COMPRESSED_IMAGE_TYPE if name.endswith("/compressed") else IMAGE_TYPE, 10) for name in names]


def chosen(entries, topic=None):
    return choose_camera(Path("bag"), entries, topic).name


def test_a_compressed_topic_beside_the_raw_one_is_the_same_camera():
    assert chosen(topics("/front/image_raw", "/front/image_raw/compressed")) == "/front/image_raw"
    assert chosen(topics("/front/image_raw/compressed")) == "/front/image_raw/compressed"
    raw, compressed = topics("/front/image_raw", "/front/image_raw/compressed")
    assert chosen([raw._replace(num_messages=2), compressed]) == compressed.name  # it holds more of the drive
    assert chosen([raw, compressed], compressed.name) == compressed.name


@pytest.mark.parametrize(
    "other",
    ["/gt/labels", "/ground_truth", "/depth/image_rect", "/front/semantic/labels", "/perception/mask", "/overlay/compressed"],
)
def test_what_is_no_camera_is_no_choice_but_can_be_chosen(other):
    entries = topics("/front/image_raw", other)
    assert chosen(entries) == "/front/image_raw" and chosen(entries, other) == other
    assert chosen(topics(other)) == other


def test_several_cameras_are_named():
    with pytest.raises(InputError, match=r"2 topics: choose one with --topic from /left/image, /right/image$"):
        chosen(topics("/left/image", "/left/image/compressed", "/right/image"))


def test_names_that_a_terminal_would_obey_are_said_without_that():
    with pytest.raises(InputError, match=r"choose one with --topic from /left, /other\?\[2Jcam$"):
        chosen(topics("/left", "/other\x1b[2Jcam"))
    with pytest.raises(InputError, match=r"choose --topic from /other\?\[2Jcam$"):
        chosen(topics("/other\x1b[2Jcam"), "/left")
    with pytest.raises(InputError, match=r"it holds /a\?\[2J \(foo\?\]0;owned\?/msg/Bar\)\)") as caught:
        chosen([BagTopic("/a\x1b[2J", "foo\x1b]0;owned\x07/msg/Bar", 1)])
    assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="and 480 more") as caught:
        chosen(topics(*(f"/camera{i}" + "x" * 500 for i in range(500))))
    assert len(str(caught.value)) < 3000


def test_an_empty_topic_is_no_camera():
    empty = BagTopic("/left/image", IMAGE_TYPE, 0)
    assert chosen([empty, *topics("/right/image")]) == "/right/image"
    with pytest.raises(InputError, match="holds no images"):
        chosen([empty, BagTopic("/note", STRING_TYPE, 3)])


def test_ground_truth_is_found_by_its_name():
    assert find_truth(topics("/front/image", "/ground_truth/labels")) == "/ground_truth/labels"
    assert find_truth(topics("/front/gt", "/front/image")) == "/front/gt"
    assert find_truth(topics("/ground_truth/depth", "/ground_truth/labels")) == "/ground_truth/labels"
    assert find_truth(topics("/front/image", "/semantic/labels")) is None
    assert find_truth([BagTopic("/ground_truth/pose", STRING_TYPE, 3)]) is None


def test_camera_info_lies_beside_the_image():
    assert camera_info_of("/front/image_raw") == camera_info_of("/front/image_raw/compressed") == "/front/camera_info"
