# SPDX-License-Identifier: Apache-2.0
"""`vltseg fetch` as a user runs it, against a server on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vltseg_core.checkpoints import native


@pytest.fixture
def start(server: Any, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the command with the server as record and hub."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "vltseg_ros.cli", "fetch", *arguments],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "VLTSEG_RECORD_URL": server.record_url,
                "VLTSEG_HUB_URL": f"{server.url}/",
                "VLTSEG_CACHE": str(tmp_path / "cache"),
                "COLUMNS": "200",
                "NO_COLOR": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def said(process: subprocess.Popen[str]) -> list[str]:
    """The sentences of a command that has failed."""
    _, errors = process.communicate(timeout=100)
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith("vltseg: ")]


def test_a_checkpoint_comes_from_the_record_that_the_environment_names(start: Any, server: Any, tmp_path: Path) -> None:
    process = start("cityscapes_1", "--accept-license")
    printed, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    weights = tmp_path / "cache" / "cityscapes_1.safetensors"
    assert printed.splitlines()[-1] == str(weights)
    assert native.load(weights).network.config.name == "published_vltseg"
    assert len(server.ranges) == 1


def test_clip_weights_come_from_the_hub_that_the_environment_names(start: Any, server: Any) -> None:
    process = start("eva02_clip_b")
    printed, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert "Licence: mit" in printed and Path(printed.splitlines()[-1]).read_bytes() == server.whole


def test_ctrl_c_is_one_sentence_and_keeps_what_has_arrived(start: Any, server: Any, tmp_path: Path) -> None:
    server.cut_after, server.breaks_by = 300_000, "hang"
    process = start("cityscapes_1", "--accept-license")
    partial = tmp_path / "cache" / f".{server.name}.download.part"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size == 300_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    (busy,) = said(start("cityscapes_1"))
    assert "is being fetched by another vltseg" in busy
    process.send_signal(signal.SIGINT)
    (sentence,) = said(process)
    assert process.returncode == 130 and sentence == "vltseg: stopped; what has arrived is kept, run the command again to go on"
    assert partial.stat().st_size == 300_000


def test_help_names_the_environment(start: Any) -> None:
    printed, _ = start("--help").communicate(timeout=100)
    assert "VLTSEG_RECORD_URL" in printed and "VLTSEG_HUB_URL" in printed
