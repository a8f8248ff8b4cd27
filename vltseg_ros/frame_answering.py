# SPDX-License-Identifier: Apache-2.0
"""Turns frames into pictures, has them segmented and publishes the masks.

All of it runs on the worker thread, except where pictures are made and uploaded ahead, on a thread of their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from vltseg_core.errors import DeviceError
from vltseg_core.runtime import Segmentation, Segmenter, UploadedImage
from vltseg_core.runtime.input_health import trusted
from vltseg_ros import messages
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.frame_slot import Frame
from vltseg_ros.input_watch import InputWatch
from vltseg_ros.mask_publishers import MaskPublishers
from vltseg_ros.parameters import NodeParameters
from vltseg_ros.recovery import Fault, fault_of
from vltseg_ros.said_text import frame_name
from vltseg_ros.throttled_log import ThrottledLog

_END_PATIENCE_S = 1.0
_LOG_PERIOD_S = 5.0


class Picture(NamedTuple):
    """A frame that can be segmented. uploaded: on its way to the device of `segmenter`, None where none was uploaded."""

    frame: Frame
    image: NDArray[np.uint8]
    uploaded: UploadedImage | None
    segmenter: Segmenter
    convert_s: float
    """What it took to make it."""
    trust: float
    """What its mask's confidence is multiplied by."""


class NetworkWatch(Protocol):
    """Who wants to know how the network does. All but `uploading` are called on the worker thread."""

    def segmenting(self) -> AbstractContextManager[None]:
        """Around each call of the network."""

    def uploading(self) -> AbstractContextManager[None]:
        """Around each upload, on the thread that makes pictures ahead."""

    def note_answer(self) -> None:
        """It answered."""

    def note_fault(self, fault: Fault, sentence: str) -> None:
        """It did not."""


class FrameAnswering:
    """Answers frames with one segmenter, up to its `end`.

    Args:
        node: whose clock and log are used. segmenter: what answers. outputs: each camera's publishers.
        statistics: where frames are counted. settings: the parameters as they are now. unready: why frames are not
            answered yet, None where they are. watch: told of the network's answers and faults. inputs: judges the cameras'
            pictures. on_lost: told in a sentence of frames that an error took.
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
        inputs: InputWatch,
        on_lost: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        self._node, self._segmenter, self._outputs, self._statistics = node, segmenter, outputs, statistics
        self._settings, self._unready, self._watch = settings, unready, watch
        self._inputs, self._on_lost = inputs, on_lost
        self._log = ThrottledLog(lambda sentence: node.get_logger().warning(sentence), _LOG_PERIOD_S)
        self._publishing = threading.Lock()
        self._has_ended = False

    def end(self) -> None:
        """When this returns nothing is published any more, a frame in hand neither."""
        self._has_ended = True
        if self._publishing.acquire(timeout=_END_PATIENCE_S):  # else the middleware hangs with a mask that was in time
            self._publishing.release()

    def prepare(self, frame: Frame) -> Picture | None:
        """The frame's picture on its way to the device, for `serve`; None (counted and said) where it has none."""
        try:
            return self._picture(frame, upload=True) if self._is_ready_for(1) else None
        except Exception as error:  # the node's edge: logged and counted, and the next frame is prepared
            self._count_lost(1, "error", error)
            return None

    def serve(self, waiting: Sequence[Frame | Picture]) -> None:
        """All that happens to a batch. Whatever fails costs these frames and nothing else."""
        try:
            if self._is_ready_for(len(waiting)):
                self._answer([picture for item in waiting if (picture := self._tried_picture(item)) is not None])
        except Exception as error:  # the node's edge: logged and counted, and the next frame is served
            self._count_lost(len(waiting), "error", error)

    def _is_ready_for(self, num_frames: int) -> bool:
        """Whether frames are answered now; they are counted where not."""
        unready = None if self._has_ended else self._unready()
        for _ in range(num_frames if unready else 0):
            self._statistics.count_rejected(unready or "")
        return not (self._has_ended or unready)

    def _answer(self, pictures: Sequence[Picture]) -> None:
        if not pictures or self._has_ended:
            return
        start = time.perf_counter()
        results = self._segmented(pictures)
        if results is None:
            return
        segmented = time.perf_counter()
        for picture, result in zip(pictures, results, strict=True):
            with self._publishing:
                if self._has_ended:
                    return
                self._try_to_publish(picture, result)
        self._statistics.add_latency("convert", sum(picture.convert_s for picture in pictures))
        self._statistics.add_latency("network", segmented - start)
        self._statistics.add_latency("publish", time.perf_counter() - segmented)

    def _segmented(self, pictures: Sequence[Picture]) -> list[Segmentation] | None:
        """The network's answer, or None (counted, said and told to the watch) where it gave none that can be right."""
        inputs = [p.image if p.uploaded is None or p.segmenter is not self._segmenter else p.uploaded for p in pictures]
        try:
            with self._watch.segmenting():
                results = self._segmenter.segment(inputs)
        except Exception as error:  # whatever the network's libraries raise: told apart, counted and remedied
            fault = fault_of(error)
            if not self._has_ended:
                self._count_lost(len(inputs), fault.value if fault else "image unfit for the network", error)
                if fault:
                    self._watch.note_fault(fault, f"{type(error).__name__}: {error}")
            return None
        if self._has_ended:
            return None
        wrong = unfit_answer([picture.image for picture in pictures], results, len(self._segmenter.classes))
        if wrong:
            self._count_lost(len(inputs), Fault.WRONG_ANSWER.value, wrong)
            self._watch.note_fault(Fault.WRONG_ANSWER, wrong)
            return None
        self._watch.note_answer()
        return results

    def _try_to_publish(self, picture: Picture, result: Segmentation) -> None:
        try:
            self._publish(picture, result)
        except Exception as error:  # one camera's trouble is not the others'
            self._count_lost(1, "error", error)

    def _publish(self, picture: Picture, result: Segmentation) -> None:
        header, settings = picture.frame.message.header, self._settings()
        self._outputs[picture.frame.camera].publish(
            header,
            picture.image,
            trusted(result, picture.trust),
            min_confidence=settings.min_confidence,
            opacity=settings.overlay_opacity,
        )
        self._statistics.count_answered()
        age_s = self._age_s(header)
        if age_s >= 0:  # a clock that jumped back, or a camera's that runs ahead, tells no latency
            self._statistics.add_latency("stamp to mask", age_s)

    def _tried_picture(self, waiting: Frame | Picture) -> Picture | None:
        try:
            return self._fresh_picture(waiting)
        except Exception as error:  # one camera's trouble is not the others'
            self._count_lost(1, "error", error)
            return None

    def _fresh_picture(self, waiting: Frame | Picture) -> Picture | None:
        """The picture of what waits, or None (counted and said) where it is too old to be answered or cannot be right."""
        frame = waiting.frame if isinstance(waiting, Picture) else waiting
        header, oldest_s = frame.message.header, self._settings().max_frame_age_s
        if oldest_s > 0 and self._age_s(header) > oldest_s:
            self._statistics.count_rejected("too old")
            words = f"{frame_name(header)} is {self._age_s(header):.2f} s old: check the clocks, or raise max_frame_age_s"
            self._log.warn("too old", words)
            return None
        return waiting if isinstance(waiting, Picture) else self._picture(waiting)

    def _picture(self, frame: Frame, *, upload: bool = False) -> Picture | None:
        """The frame's picture, or None (counted and said) where it cannot be right."""
        start = time.perf_counter()
        try:
            image = messages.to_rgb(frame.message, max_pixels=self._settings().max_pixels)
        except messages.RejectedImageError as error:
            self._statistics.count_rejected(error.reason)
            self._inputs.note_rejected(frame.camera, error.reason)
            self._log.warn(error.reason, f"{frame_name(frame.message.header)} rejected: {error}")
            return None
        uploaded = self._uploaded(image) if upload else None
        converted_s = time.perf_counter() - start
        return Picture(frame, image, uploaded, self._segmenter, converted_s, self._trust(frame, image))

    def _uploaded(self, image: NDArray[np.uint8]) -> UploadedImage | None:
        """None where the device fails: `segment` meets the same fault on the worker thread, where it is handled."""
        try:
            with self._watch.uploading():
                return self._segmenter.upload(image)
        except DeviceError:
            return None

    def _trust(self, frame: Frame, image: NDArray[np.uint8]) -> float:
        if not self._settings().input_health:
            return 1.0
        report = self._inputs.check(frame.camera, image, frame.received_s)
        for finding in report.findings:
            self._log.warn(f"{frame.camera} {finding.name}", f"{frame_name(frame.message.header)}: {finding.words}")
        return report.trust

    def _age_s(self, header: Any) -> float:
        """Seconds since the stamp, by the node's clock; any stamp that a message can hold, negative ones too."""
        stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        return (self._node.get_clock().now().nanoseconds - stamp_ns) / 1e9

    def _count_lost(self, num_frames: int, cause: str, why: object) -> None:
        self._statistics.count_error(num_frames, cause)
        said = f"{type(why).__name__}: {why}" if isinstance(why, Exception) else str(why)
        sentence = f"{num_frames} frames lost ({cause}): {said}"
        self._log.warn(cause, sentence)
        self._on_lost(sentence)


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
