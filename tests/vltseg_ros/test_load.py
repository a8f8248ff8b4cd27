# SPDX-License-Identifier: Apache-2.0
"""Six cameras at 60 Hz into a network that takes 20 pairs of frames a second: the newest frames, from every camera alike."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from benchmarks import soak

FAULTY_NODE = [sys.executable, "-m", "tests.vltseg_ros.faulty_node"]
NETWORK_S = 0.05
SECONDS = 5


def test_latency_is_that_of_the_newest_frame_and_no_camera_starves() -> None:
    parameters = (f"checkpoint:=delay:{NETWORK_S}", "diagnostics_period_s:=0.2")
    seen = soak.run(FAULTY_NODE, seconds=SECONDS, cameras=6, rate_hz=60, interval_s=1, parameters=parameters)
    assert seen.exit_code == 0
    assert min(seen.sent.values()) > 3 * max(seen.masks.values()), "the network kept up, so this says nothing"
    assert seen.spread > 0.8, seen.masks
    batch_ms = 1000 * 2 * SECONDS / sum(seen.masks.values())  # two frames each
    assert batch_ms < 1000 * NETWORK_S + 200, "the network is kept waiting"
    # A frame waits for the batch before it at the most, then for its own.
    assert np.median([moment.latency_median_ms for moment in seen.moments]) < 2 * max(batch_ms, 1000 * NETWORK_S) + 50
    shown = {key: int(value) for key, value in seen.diagnostics.items() if key.startswith("frames ")}
    in_hand = 2 + seen.cameras
    assert 0 <= shown["frames in"] - shown["frames out"] - shown["frames dropped"] <= in_hand
    assert shown["frames lost to errors"] == shown["frames rejected"] == 0


def test_the_charts_show_every_quantity() -> None:
    moments = [soak.Moment(minutes, 300.0, 20, 40, 35.0, 80.0, 120.0) for minutes in (0.1, 0.2, 0.3)]
    svg = soak.chart(soak.Soak(6, 60.0, moments))
    for title in ("Resident memory", "Threads and open files", "Latency from image to mask", "Masks a second"):
        assert title in svg
