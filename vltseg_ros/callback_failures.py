# SPDX-License-Identifier: Apache-2.0
"""Failures of callbacks, and of rclpy where it takes messages, that the node survives."""

from __future__ import annotations

import time

from vltseg_ros.camera_subscriptions import CameraSubscriptions
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.said_text import said
from vltseg_ros.throttled_log import ThrottledLog

_DEAF_S = 1.0


class CallbackFailures:
    """Says and counts them, and makes subscriptions hear again that such a failure left deaf. For the executor's thread."""

    def __init__(self, log: ThrottledLog) -> None:
        self._log = log
        self._num_survived = 0
        self._first_s: float | None = None
        self._last_s = 0.0

    def note(self, error: Exception, statistics: FrameStatistics) -> None:
        """A callback failed, or a message could not be taken."""
        self._num_survived += 1
        statistics.note_trouble("a callback failed")
        self._log.warn(f"callback {type(error).__name__}", f"a callback failed: {type(error).__name__}: {said(str(error))}")
        self._last_s = time.monotonic()
        if self._first_s is None:
            self._first_s = self._last_s

    def renew_deaf(self, inputs: CameraSubscriptions, statistics: FrameStatistics) -> None:
        """A second after a failure, a new subscription for each camera that nothing was heard of since."""
        failed_s = 0.0 if self._first_s is None else time.monotonic() - self._first_s
        if failed_s < _DEAF_S:
            return
        self._first_s = self._last_s if self._last_s > (self._first_s or 0.0) else None  # that one may have left another deaf
        for camera in list(inputs.by_camera):
            if statistics.seconds_without_input(camera, float("-inf")) > failed_s:
                inputs.renew(camera)

    def values(self) -> dict[str, str]:
        """How many there were, as it is shown; nothing where there was none."""
        return {"callbacks that failed": str(self._num_survived)} if self._num_survived else {}
