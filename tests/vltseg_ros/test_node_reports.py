# SPDX-License-Identifier: Apache-2.0
"""What the node tells of itself over real topics: levels, each camera's health, the black box."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from tests.vltseg_ros.stand_in_segmenter import StandInSegmenter
from vltseg_core.runtime import Segmentation
from vltseg_core.runtime.input_health import InputFinding
from vltseg_ros import bag_messages
from vltseg_ros.bags import BagReader
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.node_report import NodeCondition, findings_of
from vltseg_ros.segmentation_node import SegmentationNode

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
SIZE = (48, 64)
SOUND = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


class SureSegmenter(StandInSegmenter):
    """Label 3 everywhere, confidence 200; fails while `failing`."""

    failing = False

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Segmentation]:
        if self.failing:
            raise RuntimeError("injected")
        return [Segmentation(np.full(i.shape[:2], 3, np.uint8), np.full(i.shape[:2], 200, np.uint8)) for i in images]


@pytest.fixture
def segmenter() -> SureSegmenter:
    return SureSegmenter()


class Dialogue:
    """A running node, and a program that sends it pictures and hears what it says."""

    def __init__(self, peer: Any, node: Any, camera: str) -> None:
        prefix = f"/{camera}" if camera else ""
        self._peer, self._number = peer, 0
        self.labels: list[Image] = []
        self.confidence: list[Image] = []
        self.reports: list[DiagnosticArray] = []
        self._images = peer.node.create_publisher(Image, f"{prefix}/image", BEST_EFFORT)
        peer.node.create_subscription(Image, f"{prefix}/semantic/labels", self.labels.append, 10)
        peer.node.create_subscription(Image, f"{prefix}/semantic/confidence", self.confidence.append, 10)
        peer.node.create_subscription(DiagnosticArray, "/diagnostics", self.reports.append, 10)
        topics = (f"{prefix}/semantic/labels", f"{prefix}/semantic/confidence")
        assert peer.spin_until(lambda: self._images.get_subscription_count() and self.reports)
        assert peer.spin_until(lambda: all(node.count_subscribers(topic) for topic in topics))
        peer.spin_until(lambda: False, 0.3)

    def show(self, picture: NDArray[np.uint8]) -> None:
        self._number += 1
        height, width = picture.shape[:2]
        message = Image(encoding="rgb8", height=height, width=width, step=3 * width, data=picture.tobytes())
        message.header.stamp.sec, message.header.frame_id = self._number, "front_optical"
        self._images.publish(message)

    def confidence_of(self, picture: NDArray[np.uint8]) -> int:
        """The published confidence of a picture, the same everywhere."""
        already = len(self.confidence)
        self.show(picture)
        assert self._peer.spin_until(lambda: len(self.confidence) > already)
        (level,) = set(self.confidence[-1].data)
        return int(level)

    def wait_for(self, holds: Callable[[DiagnosticArray], bool], timeout_s: float = 10.0) -> DiagnosticArray:
        assert self._peer.spin_until(lambda: self.reports and holds(self.reports[-1]), timeout_s), self.reports[-1]
        return self.reports[-1]


@pytest.fixture
def start(start_node: Callable[..., Any], peer: Any, segmenter: SureSegmenter) -> Callable[..., Dialogue]:
    """Starts an active node with these parameters."""

    def start_active(*parameters: str, camera: str = "") -> Dialogue:
        given = [word for parameter in ("diagnostics_period_s:=0.1", *parameters) for word in ("-p", parameter)]
        spinning = start_node(functools.partial(SegmentationNode, segmenter_factory=segmenter.load), given)
        assert spinning.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert spinning.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        spinning.start()
        return Dialogue(peer, spinning.node, camera)

    return start_active


def test_a_covered_camera_is_named_and_its_confidence_falls(start: Callable[..., Dialogue]) -> None:
    talk = start("cameras:=[front, left]", camera="front")
    assert talk.confidence_of(SOUND) == 200
    assert talk.confidence_of(np.zeros_like(SOUND)) == 0
    report = talk.wait_for(lambda array: InputFinding.TOO_DARK.words in array.status[0].message)
    node, front, left = report.status
    assert node.level == front.level == DiagnosticStatus.WARN and left.level == DiagnosticStatus.OK
    assert "camera front: too dark" in node.message and front.name == "/vltseg: camera front"
    assert {pair.key: pair.value for pair in front.values}["frames checked"] == "2"
    assert talk.confidence_of(SOUND) in (200, 100)  # sudden change, where both came within 0.2 s
    assert set(talk.labels[-1].data) == {3}


def test_uncertain_labels_of_a_bad_picture_become_255(start: Callable[..., Dialogue]) -> None:
    talk = start("min_confidence:=0.5")
    assert talk.confidence_of(SOUND) == 200 and set(talk.labels[-1].data) == {3}
    talk.confidence_of(np.zeros_like(SOUND))
    assert talk._peer.spin_until(lambda: len(talk.labels) == 2) and set(talk.labels[-1].data) == {255}


def test_without_the_check_a_black_picture_is_as_good_as_any(start: Callable[..., Dialogue]) -> None:
    talk = start("input_health:=false")
    assert talk.confidence_of(np.zeros_like(SOUND)) == 200
    assert talk.wait_for(lambda array: len(array.status) == 2).status[1].level == DiagnosticStatus.OK


def test_a_network_that_only_fails_is_an_error_until_it_works_again(
    start: Callable[..., Dialogue], segmenter: SureSegmenter, peer: Any
) -> None:
    talk = start()
    states: list[DiagnosticStatus] = []
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.node.create_subscription(DiagnosticStatus, "/vltseg/status", states.append, latched)
    segmenter.failing = True
    for _ in range(6):
        talk.show(SOUND)
        peer.spin_until(lambda: False, 0.05)
    report = talk.wait_for(lambda array: array.status[0].level == DiagnosticStatus.ERROR)
    assert report.status[0].message == "no masks: frames lost: error in the network"
    segmenter.failing = False
    assert talk.confidence_of(SOUND) == 200
    talk.wait_for(lambda array: array.status[0].level == DiagnosticStatus.WARN)
    assert peer.spin_until(lambda: [s.level for s in states[-2:]] == [DiagnosticStatus.ERROR, DiagnosticStatus.WARN])


def test_a_silent_camera_is_stale_and_the_node_is_only_if_all_are(start: Callable[..., Dialogue], peer: Any) -> None:
    talk = start("cameras:=[front, left]", "input_timeout_s:=0.5", camera="front")
    talk.wait_for(lambda array: array.status[0].level == DiagnosticStatus.STALE)
    end = time.monotonic() + 10
    while talk.reports[-1].status[0].level != DiagnosticStatus.WARN and time.monotonic() < end:
        talk.show(np.roll(SOUND, talk._number, axis=1))
        peer.spin_until(lambda: False, 0.1)
    assert [status.level for status in talk.reports[-1].status][2] == DiagnosticStatus.STALE


def test_an_error_leaves_a_recording_of_what_went_before(
    start: Callable[..., Dialogue], segmenter: SureSegmenter, tmp_path: Path, peer: Any
) -> None:
    talk = start(f"black_box_path:={tmp_path}", "black_box_frames:=3")
    for _ in range(5):
        talk.confidence_of(SOUND)
    segmenter.failing = True
    talk.show(SOUND)
    assert peer.spin_until(lambda: list(tmp_path.glob("*/metadata.yaml")))
    (recording,) = tmp_path.iterdir()
    with BagReader(recording) as bag:
        assert [bag_messages.stamp_of(m.cdr) // 10**9 for m in bag.messages(["/image"])] == [4, 5, 6]
        assert any(topic.name == "/diagnostics" for topic in bag.topics)
        assert "injected" in bag.entries["reason"]
    segmenter.failing = False
    assert talk.confidence_of(SOUND) == 200


def test_a_black_box_without_a_place_fails_configure(start_node: Callable[..., Any], segmenter: SureSegmenter) -> None:
    build = functools.partial(SegmentationNode, segmenter_factory=segmenter.load)
    spinning = start_node(build, ["-p", "black_box_path:=/proc/none"])
    assert spinning.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert not [thread for thread in threading.enumerate() if thread.name == "vltseg-black-box"]


def test_callbacks_that_failed_are_a_warning_and_no_frames() -> None:
    statistics = FrameStatistics()
    for _ in range(8):
        statistics.note_trouble("a callback failed")
    found = findings_of(NodeCondition(statistics), ())
    assert found.errors == [] and found.warnings == ["a callback failed"] and statistics.counts.errors == 0
