# SPDX-License-Identifier: Apache-2.0
"""Plays a sequence of images into a running segmentation node over DDS and records the masks that come back.

Stamps identify frames: a mask answers the frame with its exact stamp, frames of one stamp in turn. Masks are received
in a thread of their own, so that their times of receipt do not wait for the next frame's publishing. /clock tells the
time of the sequence to a node that uses sim time.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import closing
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
from vltseg_ros.replay_pace import Pace
from vltseg_ros.replay_record import PlayedFrame, ReplayRecord, num_refused
from vltseg_ros.ros_installation import start_ros
from vltseg_ros.serialised_images import MESSAGE_CLASSES, is_readable
from vltseg_ros.sim_clock import SimClock

_TICK_S = 0.1
_STATE_QUESTION_S = 2.0
_FIRST_MASK_S = 60.0
_CONFIDENCE_S = 1.0
_MAX_SILENT_FRAMES = 10
_SETTLING_S = 0.3
_DIAGNOSTICS_S = 2.5
_INPUT_TOPICS = {bag_messages.IMAGE_TYPE: "image", bag_messages.COMPRESSED_IMAGE_TYPE: "image/compressed"}


class Replay:
    """A ROS node that publishes one topic and listens to one node's masks; use it as a context manager.

    node: the process that is to answer. message_type: what will be published, sensor_msgs/msg/Image or CompressedImage.
    record: where masks go, at the sequence's time of their receipt, under /semantic/labels. with_confidence: ask for the
    confidence too, and record it beside them under /semantic/confidence.
    """

    def __init__(self, node: NodeProcess, message_type: str, record: bags.BagWriter, *, with_confidence: bool = False) -> None:
        self._node = node
        self._record = record
        self._waiting: dict[int, deque[PlayedFrame]] = defaultdict(deque)
        self._without_confidence: dict[int, deque[PlayedFrame]] = defaultdict(deque)
        self._rate = 1.0
        self.result = ReplayRecord()
        self._context = rclpy.Context()
        start_ros(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._ros = rclpy.create_node("vltseg_replay", context=self._context, start_parameter_services=False, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._ros)
        self._clock = SimClock(self._ros)
        namespace = node.full_name.rsplit("/", 1)[0]
        self._message_type = message_type
        self._image_topic = f"{namespace}/{_INPUT_TOPICS[message_type]}"
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = self._ros.create_publisher(MESSAGE_CLASSES[message_type], self._image_topic, qos)
        self._answers = {f"{namespace}/semantic/labels": self._on_mask}
        if with_confidence:
            self._answers[f"{namespace}/semantic/confidence"] = self._on_confidence
        self._with_confidence = with_confidence
        answer_qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.RELIABLE)
        for topic, callback in self._answers.items():
            self._ros.create_subscription(Image, topic, callback, answer_qos, raw=True)
        self._ros.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._state: Any = self._ros.create_client(GetState, f"{node.full_name}/get_state")
        self._news = threading.Event()
        self._num_reports = 0
        self._slowest_s = 0.0
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
        while missing := self._missing_connection():
            self._wait(_TICK_S)
            if time.monotonic() > deadline:
                raise NodeError(f"the node {self._node.full_name} is active, but nobody {missing}: see its log")
        time.sleep(_SETTLING_S)  # discovery runs both ways, and the node's side of it may end a moment after ours

    def play(
        self, frames: Iterable[SourceFrame], *, rate: float = 1, patience_s: float = 5, on_frame: Callable[[], object] = lambda: 0
    ) -> ReplayRecord:
        """Publish the frames at their times divided by `rate`, then wait for the last masks; `on_frame` after each.

        patience_s: how long the last frame's mask is waited for, at least; longer where masks take longer.
        Raises NodeError where the node ends meanwhile. `result` holds what happened so far also then.
        """
        self._rate = rate
        pace = Pace(rate)
        with closing(prefetched(frames)) as ready:
            for frame in ready:
                due_s, jumped = pace.step(frame.time_ns)
                while (left_s := due_s - time.monotonic()) > 0:
                    self._wait(min(left_s, _TICK_S))
                self._require_going_on()
                if jumped:
                    self._clock.set(frame.time_ns, rate)
                self.result.num_shortened_gaps = pace.num_shortened_gaps
                self.result.num_late_frames += time.monotonic() > due_s + 0.05
                self.result.num_shared_stamps += bool(self._waiting[frame.stamp_ns])
                self._publish(frame)
                on_frame()
        self._wait_for_last_masks(patience_s)
        self._wait_for_diagnostics()
        return self.result

    def play_lossless(
        self, frames: Iterable[SourceFrame], *, patience_s: float = 5.0, on_frame: Callable[[], object] = lambda: None
    ) -> ReplayRecord:
        """Publish each frame when the one before was answered or refused, or was waited for in vain; as `play` else.

        The sequence's clock stands at each frame's time until the next one. patience_s: as in `play`, for every frame.
        A frame that cannot be decoded counts as refused at once. Raises NodeError also where ten others in a row were
        waited for in vain.
        """
        self._rate = 0.0
        with closing(prefetched(frames)) as ready:
            for frame in ready:
                self._clock.set(frame.time_ns, 0.0)
                # a frame that was given up cannot be what a mask of this stamp answers
                self._waiting[frame.stamp_ns].clear()
                self._without_confidence[frame.stamp_ns].clear()
                num_unanswered = len(self.result.frames) - self.result.num_answered
                played = self._publish(frame)
                if is_readable(frame.message, self._message_type):
                    self._wait_for_answer(played, patience_s, num_unanswered)
                else:  # nor can the node read it
                    self._waiting[frame.stamp_ns].clear()
                    played.unreadable = played.refused = not played.answered
                on_frame()
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

    def _missing_connection(self) -> str:
        """What is not connected yet, as a clause; empty where everything is."""
        if self._publisher.get_subscription_count() == 0:
            return f"subscribes to {self._image_topic}"
        return next((f"publishes {topic}" for topic in self._answers if self._ros.count_publishers(topic) == 0), "")

    def _publish(self, frame: SourceFrame) -> PlayedFrame:
        played = PlayedFrame(frame.name, frame.section, frame.stamp_ns, frame.time_ns, time.monotonic(), sequence=frame.sequence)
        frames = self.result.frames
        frames.append(played)
        self._waiting[frame.stamp_ns].append(played)
        if self._with_confidence:
            self._without_confidence[frame.stamp_ns].append(played)
        self._publisher.publish(frame.message)
        self.result.playing_s = (played.published_s - frames[0].published_s) * len(frames) / max(len(frames) - 1, 1)
        return played

    def _wait(self, seconds: float) -> None:
        """Sleep so long, or until a message came."""
        self._news.wait(seconds)
        self._news.clear()
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

    def _patience_s(self, least_s: float) -> float:
        """How long a mask is waited for: four times what the slowest took; longer for the first."""
        never_answered = not self._slowest_s and not self.result.num_silent_frames
        return _FIRST_MASK_S if never_answered else max(least_s, 4 * self._slowest_s)

    def _complete(self, frame: PlayedFrame) -> bool:
        """Whether everything came that the frame's answer consists of; the confidence follows its mask at once."""
        if not frame.answered or frame.has_confidence or not self._with_confidence:
            return frame.answered
        return time.monotonic() - frame.published_s > frame.latency_ms / 1e3 + _CONFIDENCE_S

    def _wait_for_answer(self, frame: PlayedFrame, patience_s: float, num_unanswered: int) -> None:
        """Until the answer is complete, or the node has refused one frame more than went unanswered before."""
        deadline = time.monotonic() + self._patience_s(patience_s)
        while not self._complete(frame):
            self._wait(_TICK_S)
            if frame.answered:
                continue
            if num_refused(self.result.diagnostics) > num_unanswered:
                frame.refused = True
                return
            if time.monotonic() > deadline:
                self.result.num_silent_frames += 1
                if self.result.all_silent(_MAX_SILENT_FRAMES):
                    raise NodeError(f"the node answered none of {_MAX_SILENT_FRAMES} frames in a row: {self._node.last_words()}")
                return

    def _wait_for_last_masks(self, patience_s: float) -> None:
        """The newest frame always gets its mask, so wait for that, as long as masks have been seen to take."""
        if not self.result.frames:
            return
        last = self.result.frames[-1]
        deadline = time.monotonic() + self._patience_s(patience_s)
        while not self._complete(last) and time.monotonic() < deadline:
            self._wait(_TICK_S)

    def _wait_for_diagnostics(self) -> None:
        """What the node says of itself once all is over."""
        deadline, before = time.monotonic() + _DIAGNOSTICS_S, self._num_reports
        while self._num_reports == before and time.monotonic() < deadline:
            self._wait(_TICK_S)

    def _on_mask(self, cdr: bytes) -> None:
        received_s = time.monotonic()
        waiting = self._waiting.get(bag_messages.stamp_of(cdr))
        if not waiting:
            self.result.num_unknown_masks += 1
            return
        frame = waiting.popleft()
        latency_s = received_s - frame.published_s
        self._slowest_s = max(self._slowest_s, latency_s)
        self._record.write(bags.LABELS_TOPIC, bag_messages.IMAGE_TYPE, self._receipt_ns(frame, latency_s), cdr)
        frame.latency_ms = latency_s * 1e3
        self._news.set()

    def _on_confidence(self, cdr: bytes) -> None:
        received_s = time.monotonic()
        waiting = self._without_confidence.get(bag_messages.stamp_of(cdr))
        if not waiting:
            return
        frame = waiting.popleft()
        time_ns = self._receipt_ns(frame, received_s - frame.published_s)
        self._record.write(bags.CONFIDENCE_TOPIC, bag_messages.IMAGE_TYPE, time_ns, cdr)
        frame.has_confidence = True
        self._news.set()

    def _receipt_ns(self, frame: PlayedFrame, latency_s: float) -> int:
        """When it came, on the sequence's clock; as it stands in a lossless replay, so that answers keep their order."""
        return frame.time_ns + round(latency_s * 1e9 * self._rate)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.endswith(self._node.full_name.rsplit("/", 1)[1]):  # and not its cameras'
                self.result.diagnostics.update({entry.key: entry.value for entry in status.values})
                self._num_reports += 1
                self._news.set()
