# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics and the log say of silence, of what runs, of a backend that is built."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage, Image

from tests.vltseg_ros.segmentation_node.brightness import BEST_EFFORT, BrightnessSegmenter, Conversation, image_message, values


def test_silence_names_the_topic_and_the_cameras_that_there_are(start: Any, peer: Any, diagnostics: Any) -> None:
    peer.node.create_publisher(Image, "/camera/image_raw", BEST_EFFORT)
    start("-p", "diagnostics_period_s:=0.2", "-p", "input_timeout_s:=0.5")
    status = diagnostics(lambda s: "/camera/image_raw" in s.message)
    assert status.level == DiagnosticStatus.STALE and "no frame on '/image'" in status.message and "remap" in status.message


def test_silence_without_any_camera_says_so(start: Any, peer: Any, diagnostics: Any) -> None:
    start("-p", "diagnostics_period_s:=0.2", "-p", "input_timeout_s:=0.5")
    diagnostics(lambda s: "nobody publishes there, and no camera publishes at all" in s.message)


def test_silence_on_a_topic_of_another_type_says_so(start: Any, peer: Any, diagnostics: Any) -> None:
    peer.node.create_publisher(CompressedImage, "/image", BEST_EFFORT)
    start("-p", "diagnostics_period_s:=0.2", "-p", "input_timeout_s:=0.5")
    diagnostics(lambda s: "it carries sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image" in s.message)


def test_diagnostics_say_what_runs_and_how_fast(start: Any, peer: Any, diagnostics: Any) -> None:
    start("-p", "diagnostics_period_s:=0.2")
    talk = Conversation(peer, "/image", "/semantic/labels")
    for _ in range(3):
        assert talk.ask(image_message()) is not None
    status = diagnostics(lambda s: values(s).get("frames out") == "3")
    shown = values(status)
    assert status.level == DiagnosticStatus.OK and status.name == "/vltseg" and status.message.startswith("active")
    assert shown["checkpoint"] == "stand-in" and shown["backend"] == "eager (no other)" and shown["state"] == "active"
    for stage in ("convert", "network", "publish", "stamp to mask"):
        assert float(shown[f"latency {stage}, median (ms)"]) <= float(shown[f"latency {stage}, p95 (ms)"])
    assert float(shown["frame rate out (Hz)"]) > 0


def test_what_auto_could_not_have_is_a_warning_and_frames_are_answered_meanwhile(
    start: Any, peer: Any, diagnostics: Any, segmenter: BrightnessSegmenter
) -> None:
    segmenter.has_backend_to_build = segmenter.serves_meanwhile = True
    segmenter.build_shortfall = "onnxruntime: the engine is damaged"
    start("-p", "diagnostics_period_s:=0.2")
    talk = Conversation(peer, "/image", "/semantic/labels")
    assert talk.ask(image_message()) is not None
    segmenter.engine_is_built.set()
    status = diagnostics(lambda s: "could not be built: onnxruntime: the engine is damaged" in s.message)
    assert status.level == DiagnosticStatus.WARN
    assert talk.ask(image_message()) is not None


@pytest.mark.parametrize("serves", [True, False])
def test_a_backend_is_built_beside_the_callbacks(
    start: Any, peer: Any, diagnostics: Any, segmenter: BrightnessSegmenter, serves: bool
) -> None:
    segmenter.has_backend_to_build = True
    start("-p", "diagnostics_period_s:=0.2", "-p", f"serve_while_building:={str(serves).lower()}")
    talk = Conversation(peer, "/image", "/semantic/labels")
    assert (talk.ask(image_message(), timeout_s=5 if serves else 1) is not None) == serves
    status = diagnostics(lambda s: "building the backend: building the engine" in s.message)
    assert values(status)["building"].startswith("building the engine")
    assert values(status).get("rejected: backend is being built") == (None if serves else "1")
    segmenter.engine_is_built.set()
    diagnostics(lambda s: "building" not in values(s))
    assert talk.ask(image_message()) is not None
