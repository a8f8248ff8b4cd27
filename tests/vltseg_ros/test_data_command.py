# SPDX-License-Identifier: Apache-2.0
"""`vltseg data check` prints what it found, and its exit code says whether a file is broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from vltseg_core.data import check as check_module
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_ros.cli import app


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    for kind, pixels in (("images", np.zeros((6, 8, 3), np.uint8)), ("labels", np.full((6, 8), 13, np.uint8))):
        (tmp_path / kind).mkdir()
        for number in range(9):
            Image.fromarray(pixels).save(tmp_path / kind / f"{number:06}_10.png")
    return tmp_path


def check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def test_a_whole_data_set_is_described_and_written_as_json(kitti: Path, tmp_path: Path) -> None:
    result = check("kitti", kitti, "--json", tmp_path / "check.json", "--workers", 2)
    assert result.exit_code == 0
    for line in ("train: 7 pairs", "val: 2 pairs", "sizes: 8x6 (9)", "9 pairs read, 0 broken"):
        assert line in result.output
    written = json.loads((tmp_path / "check.json").read_text())
    assert written["splits"]["train"]["num_pairs"] == 7
    assert {"name": "car", "pixel_share": 1.0, "num_images": 9} in written["classes"]


def test_a_broken_file_is_named_and_gives_exit_code_1(kitti: Path) -> None:
    (kitti / "labels/000003_10.png").write_bytes(b"")
    result = check("kitti", kitti)
    assert result.exit_code == 1 and "000003_10.png' is damaged" in result.output and "9 pairs read, 1 broken" in result.output
    assert check("kitti", kitti, "--split", "val").exit_code == 0


def test_what_is_missing_or_misspelt_is_an_error(tmp_path: Path) -> None:
    assert isinstance(check("kitti", tmp_path).exception, InputError)
    assert isinstance(check("kiti", tmp_path).exception, ConfigurationError)


def test_ctrl_c_ends_it_with_one_line(kitti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check_module, "check_data_set", interrupted)
    result = check("kitti", kitti)
    assert result.exit_code == 130 and "Traceback" not in result.output
