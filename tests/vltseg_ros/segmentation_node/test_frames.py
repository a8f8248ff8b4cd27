# SPDX-License-Identifier: Apache-2.0
"""Frames in, masks out: stamps, sizes, what gives way, what is rejected, what parameters change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage

from tests.vltseg_ros.segmentation_node.brightness import BrightnessSegmenter, Conversation, image_message, values


@pytest.mark.parametrize("stamp", [(0, 0), (1, 2), (2**31 - 1, 999_999_999), (-(2**31), 2**32 - 1)])
def test_a_mask_carries_the_image_s_stamp_frame_and_size(start: Any, peer: Any, stamp: tuple[int, int]) -> None:
    start()
    mask = Conversation(peer, "/image", "/semantic/labels").ask(image_message(42, (5, 7), stamp=stamp))
    assert (mask.header.stamp.sec, mask.header.stamp.nanosec) == stamp
    assert mask.header.frame_id == "front_optical"
    assert (mask.height, mask.width, mask.step, mask.encoding) == (5, 7, 7, "mono8")
    assert set(mask.data) == {42 % 19}


@pytest.mark.parametrize("size", [(1080, 1920), (2160, 3840)])
def test_large_images_arrive_and_are_answered(start: Any, peer: Any, size: tuple[int, int]) -> None:
    start()
    talk = Conversation(peer, "/image", "/semantic/labels")
    for number in range(5):
        mask = talk.ask(image_message(number, size, stamp=(number, 0)), 20)
        assert mask.header.stamp.sec == number and len(mask.data) == size[0] * size[1] and mask.data[-1] == number


def test_the_newest_frame_wins_and_older_ones_are_counted(
    start: Any, peer: Any, segmenter: BrightnessSegmenter, diagnostics: Any
) -> None:
    segmenter.may_answer.clear()
    node = start("-p", "diagnostics_period_s:=0.2")
    talk = Conversation(peer, "/image", "/semantic/labels")
    talk.publisher.publish(image_message(stamp=(0, 0)))
    assert segmenter.busy.wait(10)
    for number in range(1, 20):
        talk.publisher.publish(image_message(stamp=(number, 0)))
        assert peer.spin_until(lambda: node._statistics.counts.received > number, 10)  # noqa: B023
    segmenter.may_answer.set()
    assert peer.spin_until(lambda: talk.answers and talk.answers[-1].header.stamp.sec == 19)
    assert [mask.header.stamp.sec for mask in talk.answers] == [0, 19]
    shown = values(diagnostics(lambda s: values(s).get("frames out") == "2"))
    assert (shown["frames in"], shown["frames dropped"]) == ("20", "18")


def test_frames_uploaded_ahead_give_way_to_newer_ones(
    start: Any, peer: Any, segmenter: BrightnessSegmenter, diagnostics: Any
) -> None:
    segmenter.uploads_beside_the_network = True
    segmenter.may_answer.clear()
    start("-p", "diagnostics_period_s:=0.2")
    talk = Conversation(peer, "/image", "/semantic/labels")
    talk.publisher.publish(image_message(stamp=(0, 0)))
    assert segmenter.busy.wait(10)
    for number in range(1, 20):
        talk.publisher.publish(image_message(number, stamp=(number, 0)))
        assert peer.spin_until(lambda: segmenter.num_uploads > number, 10)  # noqa: B023
    segmenter.may_answer.set()
    assert peer.spin_until(lambda: talk.answers and talk.answers[-1].header.stamp.sec == 19)
    assert [mask.header.stamp.sec for mask in talk.answers] == [0, 19] and set(talk.answers[-1].data) == {0}
    shown = values(diagnostics(lambda s: values(s).get("frames out") == "2"))
    assert (shown["frames in"], shown["frames dropped"]) == ("20", "18")


def test_a_bad_frame_that_is_prepared_ahead_is_counted_and_the_next_one_served(
    start: Any, peer: Any, segmenter: BrightnessSegmenter, diagnostics: Any
) -> None:
    segmenter.uploads_beside_the_network = True
    start("-p", "diagnostics_period_s:=0.2", "-p", "max_frame_age_s:=5.0")
    talk = Conversation(peer, "/image", "/semantic/labels")
    now = peer.node.get_clock().now().to_msg()
    good = image_message(stamp=(now.sec, now.nanosec))
    unknown = image_message(stamp=(now.sec, now.nanosec))
    unknown.encoding = "rgb9"
    assert talk.ask(unknown, 0.4) is None
    assert talk.ask(image_message(stamp=(1, 0)), 0.4) is None
    segmenter.failures = 1
    assert talk.ask(good, 0.4) is None
    assert talk.ask(good) is not None
    shown = values(diagnostics(lambda s: values(s).get("frames out") == "1"))
    assert shown["rejected: encoding"] == shown["rejected: too old"] == shown["frames lost to errors"] == "1"


def test_a_bad_frame_is_counted_and_the_next_one_served(start: Any, peer: Any, diagnostics: Any) -> None:
    start("-p", "diagnostics_period_s:=0.2")
    talk = Conversation(peer, "/image", "/semantic/labels")
    short = image_message()
    short.data = bytes(short.data)[:-1]
    unknown = image_message()
    unknown.encoding = "rgb9"
    assert talk.ask(short, 0.4) is None
    assert talk.ask(unknown, 0.4) is None
    assert talk.ask(image_message()) is not None
    status = diagnostics(lambda s: values(s).get("frames out") == "1")
    assert status.level == DiagnosticStatus.WARN and "frames rejected" in status.message
    assert values(status)["rejected: short data"] == values(status)["rejected: encoding"] == "1"


def test_an_error_in_the_network_costs_one_frame(start: Any, peer: Any, segmenter: BrightnessSegmenter, diagnostics: Any) -> None:
    start("-p", "diagnostics_period_s:=0.2")
    talk = Conversation(peer, "/image", "/semantic/labels")
    segmenter.failures = 1
    assert talk.ask(image_message(), 0.5) is None
    assert talk.ask(image_message()) is not None
    assert values(diagnostics(lambda s: values(s).get("frames out") == "1"))["frames lost to errors"] == "1"


def test_cameras_have_topics_of_their_own_and_enter_as_one_batch(start: Any, peer: Any, segmenter: BrightnessSegmenter) -> None:
    segmenter.delay_s = 1.0
    start("-p", "cameras:=[front, left]", "-r", "__ns:=/ego")
    front = Conversation(peer, "/ego/front/image", "/ego/front/semantic/labels")
    left = Conversation(peer, "/ego/left/image", "/ego/left/semantic/labels")
    front.publisher.publish(image_message(0))
    assert segmenter.busy.wait(5)
    front.publisher.publish(image_message(1, stamp=(11, 0)))
    left.publisher.publish(image_message(2, (4, 4), stamp=(12, 0)))
    assert peer.spin_until(lambda: len(front.answers) == 2 and len(left.answers) == 1)
    assert front.answers[1].header.stamp.sec == 11 and set(front.answers[1].data) == {1}
    assert left.answers[0].header.stamp.sec == 12 and set(left.answers[0].data) == {2}
    assert segmenter.batch_sizes == [1, 2]


def test_uncertain_pixels_become_255_as_soon_as_the_parameter_says_so(start: Any, peer: Any) -> None:
    start()
    talk = Conversation(peer, "/image", "/semantic/labels")
    assert set(talk.ask(image_message(3)).data) == {3}
    change = Parameter("min_confidence", value=0.9).to_parameter_msg()
    assert peer.call(SetParameters, "/vltseg/set_parameters", SetParameters.Request(parameters=[change])).results[0].successful
    assert set(talk.ask(image_message(3)).data) == {255}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Parameter("checkpoint", value="other"), "cannot change while the node is configured"),
        (Parameter("min_confidence", value=1.5), ""),
        (Parameter("min_confidence", value="high"), ""),
    ],
)
def test_what_cannot_change_is_refused_with_a_reason(start: Any, peer: Any, change: Parameter, reason: str) -> None:
    start()
    request = SetParameters.Request(parameters=[change.to_parameter_msg()])
    result = peer.call(SetParameters, "/vltseg/set_parameters", request).results[0]
    assert not result.successful and result.reason and reason in result.reason


@pytest.mark.parametrize("name", ["diagnostics_period_s", "autostart", "stop_with_parent"])
def test_what_counts_at_the_start_alone_is_read_only_in_every_state(start: Any, peer: Any, name: str) -> None:
    node = start("-p", "diagnostics_period_s:=0.5", activate=False)
    value = 2.0 if name == "diagnostics_period_s" else not node.get_parameter(name).value
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    result = peer.call(SetParameters, "/vltseg/set_parameters", request).results[0]
    assert not result.successful and "read-only" in result.reason
    assert node.get_parameter("diagnostics_period_s").value == 0.5


def test_confidence_and_overlay_are_published_for_those_who_listen(start: Any, peer: Any) -> None:
    start("-p", "overlay_opacity:=1.0")
    confidence = Conversation(peer, "/image", "/semantic/confidence").ask(image_message())
    assert set(confidence.data) == {200}
    overlay = Conversation(peer, "/image", "/semantic/overlay").ask(image_message(13))
    assert overlay.encoding == "rgb8" and tuple(overlay.data[:3]) == (0, 0, 142)
    jpeg = Conversation(peer, "/image", "/semantic/overlay/compressed", CompressedImage).ask(image_message(13))
    assert jpeg.format == "jpeg" and bytes(jpeg.data[:2]) == b"\xff\xd8" and jpeg.header.stamp.nanosec == 2


def test_compressed_input(start: Any, peer: Any) -> None:
    import cv2

    start("-p", "image_transport:=compressed")
    talk = Conversation(peer, "/image/compressed", "/semantic/labels", image_type=CompressedImage)
    sent = CompressedImage(format="png", header=image_message(stamp=(8, 9)).header)
    sent.data = cv2.imencode(".png", np.full((6, 8, 3), (0, 200, 7), np.uint8))[1].tobytes()
    mask = talk.ask(sent)
    assert set(mask.data) == {7} and mask.header == sent.header
    sent.data = bytes(sent.data)[:40]
    assert talk.ask(sent, 0.4) is None


def test_frames_older_than_allowed_are_not_answered(start: Any, peer: Any) -> None:
    start("-p", "max_frame_age_s:=5.0")
    talk = Conversation(peer, "/image", "/semantic/labels")
    assert talk.ask(image_message(stamp=(1, 0)), 0.4) is None
    now = peer.node.get_clock().now().to_msg()
    assert talk.ask(image_message(stamp=(now.sec, now.nanosec))) is not None
