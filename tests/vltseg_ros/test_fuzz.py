# SPDX-License-Identifier: Apache-2.0
"""A short run of benchmarks/fuzz.py: hostile messages through the node's own callbacks, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

ROOT = Path(__file__).parents[2]


def test_two_thousand_hostile_messages_are_answered_or_counted(tmp_path: Path) -> None:
    figures = tmp_path / "fuzz.json"
    command = [sys.executable, "benchmarks/fuzz.py", "--messages", "2000", "--seed", "7", "--no-large", "--dds-share", "0"]
    ended = subprocess.run(
        [*command, "--json", str(figures)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    raw, compressed = json.loads(figures.read_text())
    assert raw["received"] > 1000 and compressed["received"] > 1000
    for result in (raw, compressed):
        assert result["errors"] == 0 and result["failures"] == [] and result["growth_mb"] < 60
        assert result["received"] == result["answered"] + sum(result["rejected"].values())
    assert {"encoding", "short data", "size", "step"} <= set(raw["rejected"])
    assert {"damaged", "encoding"} <= set(compressed["rejected"])
