# SPDX-License-Identifier: Apache-2.0
"""Turns frames into pictures, has them segmented and publishes the masks. All of it runs on the worker thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from vltseg_core.runtime import Segmentation, Segmenter
from vltseg_ros import messages
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.frame_slot import Frame
from vltseg_ros.mask_publishers import MaskPublishers
from vltseg_ros.parameters import NodeParameters
from vltseg_ros.recovery import Fault, fault_of
from vltseg_ros.throttled_log import ThrottledLog

_END_PATIENCE_S = 1.0
_LOG_PERIOD_S = 5.0


class _Picture(NamedTuple):
    frame: Frame
    image: NDArray[np.uint8]


class NetworkWatch(Protocol):
    """Who wants to know how the network does. Both are called on the worker thread."""

    def note_answer(self) -> None:
        """It answered."""

    def note_fault(self, fault: Fault, sentence: str) -> None:
        """It did not."""


class FrameAnswering:
    """Answers frames with one segmenter, up to its `end`.

    Args:
        node: whose clock and log are used. segmenter: what answers. outputs: each camera's publishers.
        statistics: where frames are counted. settings: the parameters as they are now. unready: why frames are not
            answered yet, None where they are. watch: told of the network's answers and faults.
    """

    def __init__(
        self,
        node: Node,
        segmenter: Segmenter,
        outputs: Mapping[str, MaskPublishers],
        statistics: FrameStatistics,
        *,
        settings: Callable[[], NodeParameters],
        unready: Callable[[], str | None],
        watch: NetworkWatch,
    ) -> None:
        self._node, self._segmenter, self._outputs, self._statistics = node, segmenter, outputs, statistics
        self._settings, self._unready, self._watch = settings, unready, watch
        self._log = ThrottledLog(lambda sentence: node.get_logger().warning(sentence), _LOG_PERIOD_S)
        self._publishing = threading.Lock()
        self._has_ended = False

    def end(self) -> None:
        """When this returns nothing is published any more, a frame in hand neither."""
        self._has_ended = True
        if self._publishing.acquire(timeout=_END_PATIENCE_S):  # else the middleware hangs with a mask that was in time
            self._publishing.release()

    def serve(self, frames: Sequence[Frame]) -> None:
        """All that happens to a batch. Whatever fails costs these frames and nothing else."""
        try:
            self._answer(frames)
        except Exception as error:  # the node's edge: logged and counted, and the next frame is served
            self._count_lost(len(frames), "error", error)

    def _answer(self, frames: Sequence[Frame]) -> None:
        if self._has_ended:
            return
        if unready := self._unready():
            for _ in frames:
                self._statistics.count_rejected(unready)
            return
        start = time.perf_counter()
        pictures = [picture for frame in frames if (picture := self._picture(frame)) is not None]
        if not pictures:
            return
        converted = time.perf_counter()
        results = self._segmented([picture.image for picture in pictures])
        if results is None:
            return
        segmented = time.perf_counter()
        for picture, result in zip(pictures, results, strict=True):
            with self._publishing:
                if self._has_ended:
                    return
                self._publish(picture, result)
        self._statistics.add_latency("convert", converted - start)
        self._statistics.add_latency("network", segmented - converted)
        self._statistics.add_latency("publish", time.perf_counter() - segmented)

    def _segmented(self, images: list[NDArray[np.uint8]]) -> list[Segmentation] | None:
        """The network's answer, or None (counted, said and told to the watch) where it gave none that can be right."""
        try:
            results = self._segmenter.segment(images)
        except Exception as error:  # whatever the network's libraries raise: told apart, counted and remedied
            fault = fault_of(error)
            if not self._has_ended:
                self._count_lost(len(images), fault.value if fault else "image unfit for the network", error)
                if fault:
                    self._watch.note_fault(fault, f"{type(error).__name__}: {error}")
            return None
        if self._has_ended:
            return None
        wrong = unfit_answer(images, results, len(self._segmenter.classes))
        if wrong:
            self._count_lost(len(images), Fault.WRONG_ANSWER.value, wrong)
            self._watch.note_fault(Fault.WRONG_ANSWER, wrong)
            return None
        self._watch.note_answer()
        return results

    def _publish(self, picture: _Picture, result: Segmentation) -> None:
        header, settings = picture.frame.message.header, self._settings()
        self._outputs[picture.frame.camera].publish(
            header, picture.image, result, min_confidence=settings.min_confidence, opacity=settings.overlay_opacity
        )
        self._statistics.count_answered()
        age_s = self._age_s(header)
        if age_s >= 0:  # a clock that jumped back, or a camera's that runs ahead, tells no latency
            self._statistics.add_latency("stamp to mask", age_s)

    def _picture(self, frame: Frame) -> _Picture | None:
        """The frame's picture, or None (counted and said) where it is too old or cannot be right."""
        header, oldest_s = frame.message.header, self._settings().max_frame_age_s
        if oldest_s > 0 and self._age_s(header) > oldest_s:
            self._statistics.count_rejected("too old")
            self._log.warn(
                "too old",
                f"frame of '{header.frame_id}' is {self._age_s(header):.2f} s old: check the clocks, or raise max_frame_age_s",
            )
            return None
        try:
            return _Picture(frame, messages.to_rgb(frame.message))
        except messages.RejectedImageError as error:
            self._statistics.count_rejected(error.reason)
            self._log.warn(error.reason, f"frame of '{header.frame_id}' rejected: {error}")
            return None

    def _age_s(self, header: Any) -> float:
        """Seconds since the stamp, by the node's clock; any stamp that a message can hold, negative ones too."""
        stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        return (self._node.get_clock().now().nanoseconds - stamp_ns) / 1e9

    def _count_lost(self, num_frames: int, cause: str, why: object) -> None:
        self._statistics.count_error(num_frames, cause)
        said = f"{type(why).__name__}: {why}" if isinstance(why, Exception) else str(why)
        self._log.warn(cause, f"{num_frames} frames lost ({cause}): {said}")


def unfit_answer(images: Sequence[NDArray[np.uint8]], results: Sequence[Segmentation], num_classes: int) -> str | None:
    """Why these cannot be the answers to these images, None where they can."""
    if len(results) != len(images):
        return f"{len(results)} answers to {len(images)} images"
    for image, result in zip(images, results, strict=True):
        for name, array in (("labels", result.labels), ("confidence", result.confidence)):
            if array.shape != image.shape[:2] or array.dtype != np.uint8:
                return f"{name} {array.dtype} {list(array.shape)} for an image of {list(image.shape[:2])}"
        if result.labels.size and int(result.labels.max()) >= num_classes:
            return f"label {int(result.labels.max())} of a network with {num_classes} classes"
    return None
