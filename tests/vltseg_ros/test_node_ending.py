# SPDX-License-Identifier: Apache-2.0
"""A signal ends the node with exit code 0, wherever it comes; an error does not."""

from __future__ import annotations

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from vltseg_ros import segmentation_node  # noqa: E402
from vltseg_ros.segmentation_node import SegmentationNode  # noqa: E402

ARGUMENTS = ["--ros-args", "-p", "autostart:=false", "-p", "diagnostics_period_s:=0.1"]


def test_a_signal_in_the_middle_of_a_report_is_no_error(dds_domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    report = SegmentationNode._report

    def interrupted(node: SegmentationNode) -> None:
        rclpy.shutdown()  # as the signal handler does, on its own thread
        report(node)

    monkeypatch.setattr(SegmentationNode, "_report", interrupted)
    assert segmentation_node.main(ARGUMENTS) == 0


def test_an_error_in_a_report_is_said_and_survived(
    dds_domain: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    num_reports = iter(range(100))

    def broken(node: SegmentationNode) -> None:
        if next(num_reports) == 2:
            rclpy.shutdown()
        raise RuntimeError("injected")

    monkeypatch.setattr(SegmentationNode, "_report", broken)
    assert segmentation_node.main(ARGUMENTS) == 0
    assert next(num_reports) == 3 and "a callback failed: RuntimeError: injected" in capfd.readouterr().err


def test_errors_without_end_are_one(dds_domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(executor: SingleThreadedExecutor) -> None:
        raise RuntimeError("injected")

    monkeypatch.setattr(SingleThreadedExecutor, "spin_once", broken)
    with pytest.raises(RuntimeError, match="injected"):
        segmentation_node.main(ARGUMENTS)
