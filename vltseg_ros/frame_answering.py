# SPDX-License-Identifier: Apache-2.0
"""Turns frames into pictures, has them segmented and publishes the masks.

All of it runs on the worker thread, except where pictures are made and uploaded ahead, on a thread of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from vltseg_core.runtime import Segmenter, UploadedImage
from vltseg_core.runtime.input_health import trusted
from vltseg_ros import messages
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.frame_slot import Frame, FrameSlots, FrameWorker
from vltseg_ros.frames_ahead import FramesAhead
from vltseg_ros.input_watch import InputWatch
from vltseg_ros.mask_publishers import MaskPublishers
from vltseg_ros.parameters import NodeParameters
from vltseg_ros.said_text import frame_name
from vltseg_ros.throttled_log import ThrottledLog

_LOG_PERIOD_S = 5.0


class FrameEntrance(Protocol):
    """Where each camera's newest frame goes in."""

    def put(self, frame: Frame) -> None: ...


class Picture(NamedTuple):
    """A frame that can be segmented. uploaded: on its way to the device, None where the network takes it from here."""

    frame: Frame
    image: NDArray[np.uint8]
    uploaded: UploadedImage | None
    convert_s: float
    """What it took to make it."""
    trust: float
    """What its mask's confidence is multiplied by."""


class FrameAnswering:
    """Answers frames from an activation of the node to its `end`.

    Args:
        node: whose clock and log are used. segmenter: of one configuration. outputs: each camera's publishers.
        statistics: where frames are counted. settings: the parameters as they are now. unready: why frames are not
            answered yet, None where they are. on_lost: told in a sentence of frames that an error took.
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
        on_lost: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        self._node, self._segmenter, self._outputs, self._statistics = node, segmenter, outputs, statistics
        self._settings, self._unready, self._on_lost = settings, unready, on_lost
        self.watch = InputWatch(settings().camera_names)
        self._log = ThrottledLog(node.get_logger().warning, _LOG_PERIOD_S)
        self._has_ended = False

    def serving(self) -> tuple[FrameEntrance, FrameWorker[Any]]:
        """Where frames go in, and the worker, not yet started, that answers them.

        Where the device uploads beside the network, pictures are made and uploaded while the ones before are segmented;
        on a CPU that would only take the network's cores for frames that a newer one may yet replace.
        """
        settings = self._settings()

        def on_drop(frame: Frame) -> None:
            self._statistics.count_dropped()

        if self._segmenter.uploads_beside_the_network:
            ahead = FramesAhead(settings.camera_names, self.prepare, on_drop)
            return ahead, FrameWorker(ahead, self.serve_prepared, max_batch_size=settings.max_batch_size)
        slots = FrameSlots(settings.camera_names, on_drop)
        return slots, FrameWorker(slots, self.serve, max_batch_size=settings.max_batch_size)

    def end(self) -> None:
        """From now on nothing is published, a frame in hand neither."""
        self._has_ended = True

    def serve(self, frames: Sequence[Frame]) -> None:
        """All that happens to a batch. Whatever fails costs these frames and nothing else."""
        with self._losing(len(frames)):
            if self._is_ready_for(len(frames)):
                pictures = [self._picture(frame) for frame in frames if self._is_fresh(frame)]
                self._answer([picture for picture in pictures if picture is not None])

    def prepare(self, frame: Frame) -> Picture | None:
        """The frame's picture on its way to the device, for `serve_prepared`; None (counted and said) where it has none."""
        with self._losing(1):
            return self._picture(frame, upload=True) if self._is_ready_for(1) else None
        return None

    def serve_prepared(self, pictures: Sequence[Picture]) -> None:
        """As `serve`, for what `prepare` made."""
        with self._losing(len(pictures)):
            self._answer([picture for picture in pictures if self._is_fresh(picture.frame)])

    @contextmanager
    def _losing(self, num_frames: int) -> Iterator[None]:
        """The node's edge: an error is logged and counted, and the next frame is served."""
        try:
            yield
        except Exception as error:
            self._statistics.count_error(num_frames)
            sentence = f"{num_frames} frames lost: {type(error).__name__}: {error}"
            self._log.warn(type(error).__name__, sentence)
            self._on_lost(sentence)

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
        results = self._segmenter.segment([p.image if p.uploaded is None else p.uploaded for p in pictures])
        segmented = time.perf_counter()
        for picture, result in zip(pictures, results, strict=True):
            if self._has_ended:
                return
            header, settings = picture.frame.message.header, self._settings()
            self._outputs[picture.frame.camera].publish(
                header,
                picture.image,
                trusted(result, picture.trust),
                min_confidence=settings.min_confidence,
                opacity=settings.overlay_opacity,
            )
            self._statistics.count_answered()
            self._statistics.add_latency("stamp to mask", self._age_s(header))
        self._statistics.add_latency("convert", sum(picture.convert_s for picture in pictures))
        self._statistics.add_latency("network", segmented - start)
        self._statistics.add_latency("publish", time.perf_counter() - segmented)

    def _is_fresh(self, frame: Frame) -> bool:
        """Whether the frame is not too old to be answered; counted and said where it is."""
        header, oldest_s = frame.message.header, self._settings().max_frame_age_s
        if oldest_s == 0 or self._age_s(header) <= oldest_s:
            return True
        self._statistics.count_rejected("too old")
        self._log.warn(
            "too old", f"{frame_name(header)} is {self._age_s(header):.2f} s old: check the clocks, or raise max_frame_age_s"
        )
        return False

    def _picture(self, frame: Frame, *, upload: bool = False) -> Picture | None:
        """The frame's picture, or None (counted and said) where it cannot be right."""
        start = time.perf_counter()
        try:
            image = messages.to_rgb(frame.message)
        except messages.RejectedImageError as error:
            self._statistics.count_rejected(error.reason)
            self._log.warn(error.reason, f"{frame_name(frame.message.header)} rejected: {error}")
            return None
        uploaded = self._segmenter.upload(image) if upload else None
        return Picture(frame, image, uploaded, time.perf_counter() - start, self._trust(frame, image))

    def _trust(self, frame: Frame, image: NDArray[np.uint8]) -> float:
        if not self._settings().input_health:
            return 1.0
        report = self.watch.check(frame.camera, image, frame.received_s)
        for finding in report.findings:
            self._log.warn(f"{frame.camera} {finding.name}", f"{frame_name(frame.message.header)}: {finding.words}")
        return report.trust

    def _age_s(self, header: Any) -> float:
        """Seconds since the stamp, by the node's clock; any stamp that a message can hold, negative ones too."""
        stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        return (self._node.get_clock().now().nanoseconds - stamp_ns) / 1e9
