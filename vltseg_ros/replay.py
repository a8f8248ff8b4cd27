# SPDX-License-Identifier: Apache-2.0
"""Plays a sequence of images into a running segmentation node over DDS and records the masks that come back.

Stamps identify frames: a mask answers the frame with its exact stamp. Masks are received in a thread of their own, so
that their times of receipt do not wait for the next frame's publishing.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from vltseg_core.prefetch import prefetched
from vltseg_ros import bag_messages, bags
from vltseg_ros.frame_source import SourceFrame
from vltseg_ros.node_process import NodeError, NodeProcess
from vltseg_ros.serialised_images import MESSAGE_CLASSES

_TICK_S = 0.1
_STATE_QUESTION_S = 2.0
_FIRST_MASK_S = 60.0
_SETTLING_S = 0.3
_DIAGNOSTICS_S = 2.5
_INPUT_TOPICS = {bag_messages.IMAGE_TYPE: "image", bag_messages.COMPRESSED_IMAGE_TYPE: "image/compressed"}


@dataclass
class PlayedFrame:
    """One published frame and what became of it."""

    name: str
    section: str
    stamp_ns: int
    time_ns: int
    """When it plays, on the sequence's own clock."""
    published_s: float
    """When it was published, on this process's monotonic clock."""
    latency_ms: float = float("nan")
    """From publishing to receipt of its mask; NaN while there is none."""

    @property
    def answered(self) -> bool:
        """Whether its mask came back."""
        return not math.isnan(self.latency_ms)


@dataclass
class ReplayRecord:
    """What a replay saw."""

    frames: list[PlayedFrame] = field(default_factory=list)
    playing_s: float = 0.0
    """First to last publishing, plus one mean interval."""
    num_late_frames: int = 0
    """Frames that were published over 50 ms behind their time: this machine could not play in real time."""
    num_unknown_masks: int = 0
    """Masks whose stamp is no waiting frame's."""
    diagnostics: dict[str, str] = field(default_factory=dict)
    """Keys and values of the node's last /diagnostics message."""

    @property
    def num_answered(self) -> int:
        """Frames whose mask came back."""
        return sum(frame.answered for frame in self.frames)


class Replay:
    """A ROS node that publishes one topic and listens to one node's masks; use it as a context manager.

    node: the process that is to answer. message_type: what will be published, sensor_msgs/msg/Image or CompressedImage.
    record: where masks go, at the sequence's time of their receipt, under /semantic/labels.
    """

    def __init__(self, node: NodeProcess, message_type: str, record: bags.BagWriter) -> None:
        self._node = node
        self._record = record
        self._waiting: dict[int, deque[PlayedFrame]] = defaultdict(deque)
        self._rate = 1.0
        self.result = ReplayRecord()
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._ros = rclpy.create_node("vltseg_replay", context=self._context, start_parameter_services=False, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._ros)
        namespace = node.full_name.rsplit("/", 1)[0]
        self._image_topic = f"{namespace}/{_INPUT_TOPICS[message_type]}"
        self._labels_topic = f"{namespace}/semantic/labels"
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = self._ros.create_publisher(MESSAGE_CLASSES[message_type], self._image_topic, qos)
        mask_qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self._masks = self._ros.create_subscription(Image, self._labels_topic, self._on_mask, mask_qos, raw=True)
        self._ros.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._state: Any = self._ros.create_client(GetState, f"{node.full_name}/get_state")
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._receiver = threading.Thread(target=self._receive, name="replay-receiver", daemon=True)
        self._receiver.start()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Return once the node is active and both topics are connected.

        Raises NodeError where the node ends, fails to configure, or is not ready in time, with what is missing.
        """
        deadline = time.monotonic() + timeout_s
        self._wait_until_active(deadline)
        while self._publisher.get_subscription_count() == 0 or self._ros.count_publishers(self._labels_topic) == 0:
            self._wait(_TICK_S)
            if time.monotonic() > deadline:
                missing = "subscribes to " + self._image_topic
                if self._publisher.get_subscription_count():
                    missing = "publishes " + self._labels_topic
                raise NodeError(f"the node {self._node.full_name} is active, but nobody {missing}: see its log")
        self._wait(_SETTLING_S)  # discovery runs both ways, and the node's side of it may end a moment after ours

    def play(
        self,
        frames: Iterable[SourceFrame],
        *,
        rate: float = 1.0,
        patience_s: float = 5.0,
        on_frame: Callable[[], object] = lambda: None,
    ) -> ReplayRecord:
        """Publish the frames at their times divided by `rate`, then wait for the last masks; `on_frame` after each.

        patience_s: how long the last frame's mask is waited for, at least; longer where masks take longer.
        Raises NodeError where the node ends meanwhile. `result` holds what happened so far also then.
        """
        self._rate = rate
        played = self.result.frames
        start_s = first_time_ns = None
        with closing(prefetched(frames)) as ready:
            for frame in ready:
                if start_s is None or first_time_ns is None:
                    start_s, first_time_ns = time.monotonic(), frame.time_ns
                due_s = start_s + (frame.time_ns - first_time_ns) / 1e9 / rate
                while (left_s := due_s - time.monotonic()) > 0:
                    self._wait(min(left_s, _TICK_S))
                self._require_going_on()
                self.result.num_late_frames += time.monotonic() > due_s + 0.05
                self._publish(frame)
                elapsed_s = played[-1].published_s - played[0].published_s
                self.result.playing_s = elapsed_s * len(played) / max(len(played) - 1, 1)
                on_frame()
        self._wait_for_last_masks(patience_s)
        self._wait_for_diagnostics()
        return self.result

    def close(self) -> None:
        """Stop receiving and leave the DDS domain."""
        self._closing.set()
        self._receiver.join()
        self._executor.shutdown()
        self._ros.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _wait_until_active(self, deadline: float) -> None:
        asked_s, answer = 0.0, None
        while True:
            now_s = time.monotonic()
            if now_s > deadline:
                raise NodeError(f"the node {self._node.full_name} did not become active in time: {self._node.last_words()}")
            if answer is None or (not answer.done() and now_s > asked_s + _STATE_QUESTION_S):
                asked_s, answer = now_s, self._state.call_async(GetState.Request())
            self._wait(_TICK_S)
            if answer.done():
                state, answer = answer.result().current_state.id, None
                if state == State.PRIMARY_STATE_ACTIVE:
                    return
                if state in (State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_FINALIZED):
                    failure = self._node.last_error()
                    if failure is not None:
                        raise NodeError(failure)

    def _publish(self, frame: SourceFrame) -> None:
        record = PlayedFrame(frame.name, frame.section, frame.stamp_ns, frame.time_ns, time.monotonic())
        self.result.frames.append(record)
        self._waiting[frame.stamp_ns].append(record)
        self._publisher.publish(frame.message)

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)
        self._require_going_on()

    def _require_going_on(self) -> None:
        """Raise what the receiver met, for example a full disk, or NodeError where the node has ended."""
        if self._failure is not None:
            raise self._failure
        self._node.require_running()

    def _receive(self) -> None:
        try:
            while not self._closing.is_set():
                self._executor.spin_once(timeout_sec=_TICK_S)
        except BaseException as error:  # handed over, not swallowed: raised where the replay waits
            self._failure = error

    def _wait_for_last_masks(self, patience_s: float) -> None:
        """The newest frame always gets its mask, so wait for that, as long as masks have been seen to take."""
        if not self.result.frames:
            return
        last = self.result.frames[-1]
        latencies_s = [frame.latency_ms / 1e3 for frame in self.result.frames if frame.answered]
        wait_s = max(patience_s, 4 * max(latencies_s)) if latencies_s else _FIRST_MASK_S
        deadline = time.monotonic() + wait_s
        while not last.answered and time.monotonic() < deadline:
            self._wait(_TICK_S)

    def _wait_for_diagnostics(self) -> None:
        """A short sequence may end before the node has said anything of itself."""
        deadline = time.monotonic() + _DIAGNOSTICS_S
        while not self.result.diagnostics and time.monotonic() < deadline:
            self._wait(_TICK_S)

    def _on_mask(self, cdr: bytes) -> None:
        received_s = time.monotonic()
        waiting = self._waiting.get(bag_messages.stamp_of(cdr))
        if not waiting:
            self.result.num_unknown_masks += 1
            return
        frame = waiting.popleft()
        latency_s = received_s - frame.published_s
        frame.latency_ms = latency_s * 1e3
        time_ns = frame.time_ns + round(latency_s * 1e9 * self._rate)
        self._record.write(bags.LABELS_TOPIC, bag_messages.IMAGE_TYPE, time_ns, cdr)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if self._node.full_name.rsplit("/", 1)[1] in status.name:
                self.result.diagnostics.update({entry.key: entry.value for entry in status.values})
