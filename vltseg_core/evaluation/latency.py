# SPDX-License-Identifier: Apache-2.0
"""Whether masks came in time: percentiles over the answered frames, deadlines over all frames.

latencies_ms: float64 [N], one a frame in the order of playing, NaN for a frame without an answer. A deadline's share is
over all frames: a frame that was dropped missed every deadline, so dropping frames cannot make a node look fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

DEADLINES_MS = (33.0, 50.0, 100.0)


class LatencySummary(NamedTuple):
    """Percentiles in milliseconds; NaN without an answer."""

    median_ms: float
    p95_ms: float
    p99_ms: float


def summarise(latencies_ms: ArrayLike) -> LatencySummary:
    """Percentiles over the answered frames."""
    latencies = np.asarray(latencies_ms, np.float64)
    answered = latencies[~np.isnan(latencies)]
    if not answered.size:
        return LatencySummary(float("nan"), float("nan"), float("nan"))
    return LatencySummary(*map(float, np.percentile(answered, (50, 95, 99))))


def deadline_shares(latencies_ms: ArrayLike, deadlines_ms: Sequence[float] = DEADLINES_MS) -> dict[float, float]:
    """By deadline, the share of all frames that were answered within it, 0..1; NaN without frames."""
    latencies = np.asarray(latencies_ms, np.float64)
    if not latencies.size:
        return dict.fromkeys(deadlines_ms, float("nan"))
    return {deadline: float(np.count_nonzero(latencies <= deadline)) / latencies.size for deadline in deadlines_ms}


def count_late(latencies_ms: ArrayLike, intervals_ms: ArrayLike) -> int:
    """Frames that were answered later than the camera's next frame came.

    intervals_ms: float64 [N], from each frame to the next one as the camera gave them. A late mask is about a picture
    that is no longer the newest.
    """
    return int(np.count_nonzero(np.asarray(latencies_ms, np.float64) > np.asarray(intervals_ms, np.float64)))
