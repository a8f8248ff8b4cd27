# SPDX-License-Identifier: Apache-2.0
"""`vltseg export` and `vltseg build-engine`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from vltseg_core.errors import DeviceError
from vltseg_ros.cli import app


def test_a_network_is_exported_and_says_how_well_it_agrees(tmp_path: Path) -> None:
    target = tmp_path / "tiny.pt2"
    ended = CliRunner().invoke(app, ["export", "tiny", "--size", "96x64", "--pt2", str(target)])
    assert ended.exit_code == 0 and "100.00 % equal labels" in ended.output, ended.output
    (masks,) = torch.export.load(target).module()(torch.zeros(1, 3, 64, 96))
    assert tuple(masks.shape) == (1, 19, 16, 24)


def test_nothing_to_write_is_a_wrong_command() -> None:
    ended = CliRunner().invoke(app, ["export", "tiny", "--size", "96x64"])
    assert ended.exit_code == 2 and "nothing to write" in ended.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so an engine could be built")
def test_without_a_gpu_no_tensorrt_engine_is_built() -> None:
    ended = CliRunner().invoke(app, ["build-engine", "tiny", "--size", "96x64", "--backend", "tensorrt"])
    assert isinstance(ended.exception, DeviceError) and "TensorRT needs an NVIDIA GPU" in str(ended.exception)
