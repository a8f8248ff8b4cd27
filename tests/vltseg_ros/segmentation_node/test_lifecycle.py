# SPDX-License-Identifier: Apache-2.0
"""The lifecycle's transitions with frames in hand, and faults in the middle of them."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from tests.vltseg_ros.segmentation_node.brightness import BrightnessSegmenter, Conversation, image_message, values
from vltseg_ros import messages


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

    def slow_to_rgb(message: Any, *, max_pixels: int) -> NDArray[np.uint8]:
        time.sleep(1.2)
        return to_rgb(message, max_pixels=max_pixels)

    monkeypatch.setattr(messages, "to_rgb", slow_to_rgb)
    segmenter.uploads_beside_the_network = uploads
    node = start("-p", "inference_timeout_s:=0.8")
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


def test_a_camera_whose_message_could_not_be_taken_is_heard_again(start: Any, peer: Any) -> None:
    node, talk = start(), Conversation(peer, "/image", "/semantic/labels")
    assert talk.ask(image_message()) is not None
    deaf = node._inputs.by_camera[""]
    deaf.callback_group.beginning_execution(deaf)  # as it is left behind when taking raises
    node.survive(MemoryError("no room for 199 MB"))
    assert peer.spin_until(lambda: node._inputs.by_camera[""] is not deaf)
    assert talk.ask(image_message()) is not None
    heard = node._inputs.by_camera[""]
    node.survive(MemoryError("again"))
    for _ in range(15):
        talk.publisher.publish(image_message())
        peer.spin_until(lambda: False, 0.1)
    assert node._inputs.by_camera[""] is heard, "one that is heard of keeps its subscription"
