# SPDX-License-Identifier: Apache-2.0
"""`vltseg bag make` as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

pytest.importorskip("rclpy", reason="rclpy is not installed")

from vltseg_ros.bag_source import BagSource

COMMAND = [sys.executable, "-m", "vltseg_ros.cli", "bag", "make"]


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for index in range(4):
        Image.new("RGB", (32, 24), (index, 0, 0)).save(tmp_path / "pictures" / f"{index}.png")
    return tmp_path / "pictures"


def run(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_it_says_what_it_made_and_what_it_left_out(tmp_path, pictures):
    (pictures / "9.png").write_bytes(b"no picture")
    result = run(pictures, "-o", tmp_path / "a.mcap", "--compressed", "png", "--rate-hz", "5")
    assert result.returncode == 0, result.stderr
    assert f"{tmp_path / 'a.mcap'}: 4 frames, 0.6 s" in result.stdout.replace("\n", "")
    assert "1 frames cannot be read and were left out:" in result.stderr and "9.png" in result.stderr


def test_what_a_user_can_mend_is_one_sentence(tmp_path, pictures):
    result = run("cityscape=nowhere", "-o", tmp_path / "a.mcap")
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "unknown data set" in result.stderr
    result = run("camvid=" + str(pictures), "-o", tmp_path / "a.mcap", "--split", "vall")
    assert result.returncode == 1 and "no split 'vall'" in result.stderr
    result = run(pictures, "-o", pictures)
    assert result.returncode == 1 and "exists already" in result.stderr


def test_ctrl_c_leaves_a_whole_bag(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "demo", "-o", str(tmp_path / "a.mcap"), "--rate-hz", "1000"],  # 20,000 frames: minutes
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(
        path.stat().st_size > 3_000_000 for path in tmp_path.glob(".a.mcap.*/a/a.mcap")
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and "the bag is whole" in stderr, stderr
    source = BagSource(tmp_path / "a.mcap")
    assert 0 < len(list(source.frames())) < 20_000 and source.losses == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.mcap"]
