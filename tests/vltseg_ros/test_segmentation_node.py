# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS topics, with a small stand-in for the network behind its one seam."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import ParameterDescriptor  # noqa: F401
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from vltseg_core.errors import CheckpointError
from vltseg_core.labels import CITYSCAPES
from vltseg_core.runtime import Segmentation, SegmenterDescription, UploadedImage
from vltseg_ros import messages
from vltseg_ros.segmentation_node import SegmentationNode

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


class BrightnessSegmenter:
    """Stands in for the network: a pixel's label is its red value modulo 19, its confidence the green value."""

    classes = CITYSCAPES
    has_backend_to_build = False

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.is_open = True
        self.batch_sizes: list[int] = []
        self.failures = 0
        self.busy = threading.Event()
        self.engine_is_built = threading.Event()
        self.uploads_beside_the_network = False
        self.num_uploads = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def load(self, checkpoint: str, **options: Any) -> BrightnessSegmenter:
        if checkpoint == "missing":
            raise CheckpointError("checkpoint 'missing' not found: give another")
        self.is_open = True
        return self

    def upload(self, image: NDArray[np.uint8]) -> UploadedImage:
        self.num_uploads += 1
        return UploadedImage(torch.from_numpy(image.copy()))

    def segment(self, images: Sequence[NDArray[np.uint8] | UploadedImage]) -> list[Segmentation]:
        images = [image.pixels.numpy() if isinstance(image, UploadedImage) else image for image in images]
        self.busy.set()
        time.sleep(self.delay_s)
        assert self.may_answer.wait(60)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("injected")
        self.batch_sizes.append(len(images))
        return [Segmentation(image[..., 0] % 19, image[..., 1].copy()) for image in images]

    def warm_up(self, image_size: tuple[int, int] = (360, 640), batch_size: int = 1) -> float:
        return 0.001

    def describe(self) -> SegmenterDescription:
        return SegmenterDescription("stand-in", "custom", CITYSCAPES, 1, "cpu", "fp32", "eager", "no other", None, "nothing")

    def build_backend(self, progress: Callable[[str], None]) -> None:
        progress("building the engine")
        assert self.engine_is_built.wait(30)

    def memory_bytes(self) -> int:
        return 1_000_000

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def segmenter() -> BrightnessSegmenter:
    return BrightnessSegmenter()


@pytest.fixture
def start(start_node: Callable[..., Any], peer: Any, segmenter: BrightnessSegmenter) -> Callable[..., Any]:
    """Starts an active node with these ROS arguments."""

    def start_active(*ros_arguments: str, activate: bool = True) -> Any:
        build = functools.partial(SegmentationNode, segmenter_factory=segmenter.load)
        spinning = start_node(build, list(ros_arguments))
        if activate:
            assert spinning.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            assert spinning.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        spinning.start()
        peer.partner = spinning.node
        return spinning.node

    return start_active


def image_message(value: int = 5, size: tuple[int, int] = (6, 8), *, stamp: tuple[int, int] = (1, 2)) -> Image:
    """A colour image whose label is value % 19 everywhere, confidence 200."""
    pixels = np.full((*size, 3), (value, 200, 0), np.uint8)
    message = Image(encoding="rgb8", height=size[0], width=size[1], step=3 * size[1], data=pixels.tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = "front_optical"
    return message


class Conversation:
    """Publishes images and collects what comes back on a topic."""

    def __init__(self, peer: Any, image_topic: str, answer_topic: str, answer_type: Any = Image, image_type: Any = Image):
        self.peer = peer
        self.answers: list[Any] = []
        self.publisher = peer.node.create_publisher(image_type, image_topic, BEST_EFFORT)
        peer.node.create_subscription(answer_type, answer_topic, self.answers.append, RELIABLE)
        assert peer.spin_until(lambda: self.publisher.get_subscription_count()), f"nobody listens to {image_topic}"
        assert peer.spin_until(lambda: peer.node.count_publishers(answer_topic)), f"nobody publishes {answer_topic}"
        assert peer.spin_until(lambda: peer.partner.count_subscribers(answer_topic)), f"{answer_topic} was not found"
        peer.spin_until(lambda: False, 0.3)

    def ask(self, message: Any, timeout_s: float = 5.0) -> Any:
        """The first answer after this message, None if none came."""
        already = len(self.answers)
        self.publisher.publish(message)
        self.peer.spin_until(lambda: len(self.answers) > already, timeout_s)
        return self.answers[already] if len(self.answers) > already else None


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


@pytest.fixture
def diagnostics(peer: Any) -> Callable[[Callable[[DiagnosticStatus], bool]], DiagnosticStatus]:
    """Waits for a status for which something holds."""
    arrays: list[DiagnosticArray] = []
    peer.node.create_subscription(DiagnosticArray, "/diagnostics", arrays.append, RELIABLE)

    def wait(holds: Callable[[DiagnosticStatus], bool]) -> DiagnosticStatus:
        assert peer.spin_until(lambda: arrays and holds(arrays[-1].status[0]), 10), arrays and arrays[-1]
        return arrays[-1].status[0]

    return wait


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
    start("-p", "diagnostics_period_s:=0.2")
    segmenter.delay_s = 0.4
    talk = Conversation(peer, "/image", "/semantic/labels")
    for number in range(20):
        talk.publisher.publish(image_message(stamp=(number, 0)))
        time.sleep(0.02)
    assert peer.spin_until(lambda: talk.answers and talk.answers[-1].header.stamp.sec == 19)
    answered = [mask.header.stamp.sec for mask in talk.answers]
    assert answered == sorted(answered) and len(answered) <= 4
    shown = values(diagnostics(lambda s: values(s).get("frames out") == str(len(answered))))
    assert int(shown["frames in"]) == int(shown["frames out"]) + int(shown["frames dropped"])


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
    segmenter.delay_s = 0.3
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


def change_state(peer: Any, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(peer.call(ChangeState, "/vltseg/change_state", request).success)


def test_a_lifecycle_manager_can_drive_the_node(start: Any, peer: Any, segmenter: BrightnessSegmenter) -> None:
    start(activate=False)
    for transition, state in (
        (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
        (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
        (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
        (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
        (Transition.TRANSITION_ACTIVE_SHUTDOWN, State.PRIMARY_STATE_FINALIZED),
    ):
        assert change_state(peer, transition)
        assert peer.call(GetState, "/vltseg/get_state", GetState.Request()).current_state.id == state
        assert segmenter.is_open == (state in (State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE))
    assert not [thread for thread in threading.enumerate() if thread.name == "vltseg-frames"]


def test_a_failed_configure_leaves_the_node_ready_for_another_try(start: Any, peer: Any) -> None:
    start("-p", "checkpoint:=missing", activate=False)
    assert not change_state(peer, Transition.TRANSITION_CONFIGURE)
    change = SetParameters.Request(parameters=[Parameter("checkpoint", value="there").to_parameter_msg()])
    assert peer.call(SetParameters, "/vltseg/set_parameters", change).results[0].successful
    assert change_state(peer, Transition.TRANSITION_CONFIGURE)


def test_a_frame_in_hand_is_not_published_after_deactivation(start: Any, peer: Any, segmenter: BrightnessSegmenter) -> None:
    segmenter.delay_s = 0.6
    start()
    talk = Conversation(peer, "/image", "/semantic/labels")
    talk.publisher.publish(image_message())
    assert segmenter.busy.wait(5)
    assert change_state(peer, Transition.TRANSITION_DEACTIVATE)
    peer.spin_until(lambda: False, 1.0)
    assert talk.answers == []


@pytest.mark.parametrize("uploads", [False, True])
def test_an_image_that_takes_long_to_decode_is_answered_and_costs_no_network(
    start: Any, peer: Any, segmenter: BrightnessSegmenter, monkeypatch: pytest.MonkeyPatch, uploads: bool
) -> None:
    to_rgb = messages.to_rgb

    def slow_to_rgb(message: Any) -> NDArray[np.uint8]:
        time.sleep(0.6)
        return to_rgb(message)

    monkeypatch.setattr(messages, "to_rgb", slow_to_rgb)
    segmenter.uploads_beside_the_network = uploads
    node = start("-p", "inference_timeout_s:=0.2")
    talk = Conversation(peer, "/image", "/semantic/labels")
    assert talk.ask(image_message()) is not None and talk.ask(image_message()) is not None
    assert node._serving.values()["network reloads"] == "0" and node._statistics.counts.lost == {}


def test_a_network_that_cannot_be_freed_keeps_nothing_else_from_being_freed(
    start: Any, peer: Any, segmenter: BrightnessSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(segmenter, "close", fail)
    node = start(activate=False)
    for _ in range(2):
        assert change_state(peer, Transition.TRANSITION_CONFIGURE) and change_state(peer, Transition.TRANSITION_CLEANUP)
        assert peer.call(GetState, "/vltseg/get_state", GetState.Request()).current_state.label == "unconfigured"
        assert node._state_name == "unconfigured" and node._outputs == {}


def test_a_network_given_up_just_before_a_deactivation_is_not_forgotten(
    start: Any, peer: Any, diagnostics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = start("-p", "diagnostics_period_s:=0.2")
    serving = node._serving
    end = serving.end

    def give_up_and_end(patience_s: float) -> Any:
        serving._failure = "the network was given up after: injected"
        return end(patience_s)

    monkeypatch.setattr(serving, "end", give_up_and_end)
    assert not change_state(peer, Transition.TRANSITION_DEACTIVATE)
    status = diagnostics(lambda s: s.level == DiagnosticStatus.ERROR)
    assert status.message.startswith("the network was given up after: injected") and values(status)["state"] == "unconfigured"
    assert node.has_failed.result() == "the network was given up after: injected"
