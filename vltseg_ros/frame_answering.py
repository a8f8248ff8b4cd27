# SPDX-License-Identifier: Apache-2.0
"""Turns frames into pictures, has them segmented and publishes the masks. All of it runs on the worker thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from vltseg_core.runtime import Segmenter
from vltseg_ros import messages
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.frame_slot import Frame
from vltseg_ros.mask_publishers import MaskPublishers
from vltseg_ros.parameters import NodeParameters

_LOG_PERIOD_S = 5.0


class _Picture(NamedTuple):
    frame: Frame
    image: NDArray[np.uint8]


class FrameAnswering:
    """Answers frames from an activation of the node to its `end`.

    Args:
        node: whose clock and log are used. segmenter: of one configuration. outputs: each camera's publishers.
        statistics: where frames are counted. settings: the parameters as they are now. unready: why frames are not
            answered yet, None where they are.
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
    ) -> None:
        self._node, self._segmenter, self._outputs, self._statistics = node, segmenter, outputs, statistics
        self._settings, self._unready = settings, unready
        self._has_ended = False

    def end(self) -> None:
        """From now on nothing is published, a frame in hand neither."""
        self._has_ended = True

    def serve(self, frames: Sequence[Frame]) -> None:
        """All that happens to a batch. Whatever fails costs these frames and nothing else."""
        try:
            self._answer(frames)
        except Exception as error:  # the node's edge: logged and counted, and the next frame is served
            self._statistics.count_error(len(frames))
            self._warn(f"{len(frames)} frames lost: {type(error).__name__}: {error}")

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
        results = self._segmenter.segment([picture.image for picture in pictures])
        segmented = time.perf_counter()
        for picture, result in zip(pictures, results, strict=True):
            if self._has_ended:
                return
            header, settings = picture.frame.message.header, self._settings()
            self._outputs[picture.frame.camera].publish(
                header,
                picture.image,
                result,
                min_confidence=settings.min_confidence,
                opacity=settings.overlay_opacity,
            )
            self._statistics.count_answered()
            self._statistics.add_latency("stamp to mask", self._age_s(header))
        self._statistics.add_latency("convert", converted - start)
        self._statistics.add_latency("network", segmented - converted)
        self._statistics.add_latency("publish", time.perf_counter() - segmented)

    def _picture(self, frame: Frame) -> _Picture | None:
        """The frame's picture, or None (counted and said) where it is too old or cannot be right."""
        header, oldest_s = frame.message.header, self._settings().max_frame_age_s
        if oldest_s > 0 and self._age_s(header) > oldest_s:
            self._statistics.count_rejected("too old")
            self._warn(
                f"frame of '{header.frame_id}' is {self._age_s(header):.2f} s old: check the clocks, or raise max_frame_age_s"
            )
            return None
        try:
            return _Picture(frame, messages.to_rgb(frame.message))
        except messages.RejectedImageError as error:
            self._statistics.count_rejected(error.reason)
            self._warn(f"frame of '{header.frame_id}' rejected: {error}")
            return None

    def _age_s(self, header: Any) -> float:
        """Seconds since the stamp, by the node's clock; any stamp that a message can hold, negative ones too."""
        stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        return (self._node.get_clock().now().nanoseconds - stamp_ns) / 1e9

    def _warn(self, sentence: str) -> None:
        self._node.get_logger().warning(sentence, throttle_duration_sec=_LOG_PERIOD_S)
